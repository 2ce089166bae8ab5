"""Which requests webhooks and policies see: rules, selectors, conditions."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, selectors
from minikube_py.api.admissionregistration import expressions
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.strategy import changed, each, with_absent

GROUP = "admissionregistration.k8s.io"
ALL = "*"
FAILURE_POLICIES = frozenset({"Fail", "Ignore"})
MATCH_POLICIES = frozenset({"Equivalent", "Exact"})
SCOPES = frozenset({"*", "Cluster", "Namespaced"})
OPERATIONS = frozenset({"*", "CREATE", "UPDATE", "DELETE", "CONNECT"})
CONDITIONS_MAX = 64


def default_resources(resources: Obj) -> Obj:
    """Fill in what the user left out of the resources that a policy matches."""
    resources = with_absent(
        resources, {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    )
    for key in ("resourceRules", "excludeResourceRules"):
        resources = changed(resources, key, default_rules)
    return resources


def default_rules(rules: Sequence[Obj]) -> Sequence[Any]:
    """Fill in the scope of rules."""
    return each(rules, lambda rule: with_absent(rule, {"scope": ALL}))


def validate_rule(rule: Obj, field: Field, *, subresources: bool = True) -> Iterator[FieldError]:
    """Report what is wrong with a rule: operations, groups, versions, resources and scope."""
    operations = rule.get("operations") or []
    if not operations:
        yield (field / "operations").required()
    if ALL in operations and len(operations) > 1:
        yield (field / "operations").invalid(
            operations, "if '*' is present, must not specify other operations"
        )
    for index, operation in enumerate(operations):
        if operation not in OPERATIONS:
            yield (field / "operations")[index].unsupported(operation, OPERATIONS)
    for key, noun in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        yield from _validate_names(rule.get(key) or [], noun, field / key)
    yield from _validate_resources(
        rule.get("resources") or [], field / "resources", subresources=subresources
    )
    scope = rule.get("scope")
    if scope is not None and scope not in SCOPES:
        yield (field / "scope").unsupported(scope, SCOPES)


def _validate_names(values: Sequence[str], noun: str, field: Field) -> Iterator[FieldError]:
    if not values:
        yield field.required()
    if ALL in values and len(values) > 1:
        yield field.invalid(values, f"if '*' is present, must not specify other {noun}")
    if noun == "API versions":
        for index, value in enumerate(values):
            if not value:
                yield field[index].required()


def _validate_resources(
    values: Sequence[str], field: Field, *, subresources: bool
) -> Iterator[FieldError]:
    if not values:
        yield field.required()
    wide: set[str] = set()
    for index, value in enumerate(values):
        if not value:
            yield field[index].required()
        elif "/" in value:
            if not subresources:
                yield field[index].invalid(value, "must not specify subresources")
            yield from _validate_subresource(value, wide, field[index])
    if len(values) > 1 and "*/*" in values:
        yield field.invalid(list(values), "if '*/*' is present, must not specify other resources")
    plain = [value for value in values if value and "/" not in value]
    if ALL in plain and plain[-1] != ALL:
        yield field.invalid(
            list(values), "if '*' is present, must not specify other resources without subresources"
        )


def _validate_subresource(value: str, wide: set[str], field: Field) -> Iterator[FieldError]:
    """Report `pods/log` after `pods/*` or `*/log`; `wide` collects such wildcards."""
    resource, _, sub = value.partition("/")
    wildcards = (f"{resource}/*", f"*/{sub}")
    for wildcard in wildcards:
        if wildcard in wide:
            yield field.invalid(value, f"if '{wildcard}' is present, must not specify {value}")
    wide.update({value}.intersection(wildcards))


def validate_resources(resources: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the resources that a policy or binding matches."""
    policy = resources.get("matchPolicy")
    if policy is not None and policy not in MATCH_POLICIES:
        yield (field / "matchPolicy").unsupported(policy, MATCH_POLICIES)
    for key in ("namespaceSelector", "objectSelector"):
        yield from selectors.validate(resources.get(key), field / key)
    for key in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(key) or ()):
            yield from _validate_named_rule(rule, (field / key)[index])


def _validate_named_rule(rule: Obj, field: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, name in enumerate(rule.get("resourceNames") or ()):
        place = (field / "resourceNames")[index]
        yield from (place.invalid(name, text) for text in names.path_segment(name))
        if name in seen:
            yield place.duplicate(name)
        seen.add(name)
    yield from validate_rule(rule, field)


def validate_conditions(
    conditions: Sequence[Obj], field: Field, *, params: bool = False
) -> Iterator[FieldError]:
    """Report what is wrong with match conditions; those of policies may speak of params."""
    if len(conditions) > CONDITIONS_MAX:
        yield field.too_many(len(conditions), CONDITIONS_MAX)
    seen: set[str] = set()
    known = expressions.variables(params=params)
    for index, condition in enumerate(conditions):
        name, text = condition.get("name", ""), condition.get("expression", "").strip()
        where = field[index] / "expression"
        if not text:
            yield where.required()
        else:
            yield from expressions.problems(text, known, expressions.CONDITION, where)
        if not name:
            yield (field[index] / "name").required()
        else:
            for text in names.qualified_name(name):
                yield (field[index] / "name").invalid(name, text)
            if name in seen:
                yield (field[index] / "name").duplicate(name)
            seen.add(name)


def validate_failure_policy(policy: str | None, field: Field) -> Iterator[FieldError]:
    """Report a policy for failures that is none."""
    if policy is not None and policy not in FAILURE_POLICIES:
        yield field.unsupported(policy, FAILURE_POLICIES)
