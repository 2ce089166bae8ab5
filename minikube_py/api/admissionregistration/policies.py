"""What validating and mutating admission policies and their bindings share.

The rules are those of upstream's `admissionregistration/validation`.
"""

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from minikube_py.api import names, selectors
from minikube_py.api.admissionregistration import matching
from minikube_py.api.admissionregistration.expressions import Composition
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.printing import UNSET
from minikube_py.api.resource import Age
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
ANNOTATIONS_MAX = 20
_IDENTIFIER = re.compile("[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)
_RESERVED = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for",
        "function", "if", "import", "let", "loop", "package", "namespace", "return", "var",
        "void", "while",
    }
)  # fmt: skip


def default_policy(policy: Obj) -> Obj:
    """Fill in what the user left out of a policy."""
    return changed(with_absent(policy, {"spec": {}}), "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"failurePolicy": "Fail"})
    return changed(spec, "matchConstraints", matching.default_resources)


def default_binding(binding: Obj) -> Obj:
    """Fill in what the user left out of a binding."""
    return changed(with_absent(binding, {"spec": {}}), "spec", _default_binding_spec)


def _default_binding_spec(spec: Obj) -> Obj:
    return changed(spec, "matchResources", matching.default_resources)


def validate_policy(
    spec: Obj,
    composition: Composition,
    old: Obj | None,
    *,
    operations: AbstractSet[str] | None = None,
) -> Iterator[FieldError]:
    """Report what is wrong with the parts that both kinds of policy have.

    The variables are added to the composition. Conditions that an update leaves as they were are
    not looked at again. `operations` are those that the kind of policy may match, None for all.
    """
    yield from matching.validate_failure_policy(spec.get("failurePolicy"), SPEC / "failurePolicy")
    if spec.get("paramKind") is not None:
        yield from _validate_param_kind(spec["paramKind"], SPEC / "paramKind")
    constraints, field = spec.get("matchConstraints"), SPEC / "matchConstraints"
    if constraints is None:
        yield field.required()
    else:
        yield from matching.validate_resources(constraints, field)
        if not constraints.get("resourceRules"):
            yield (field / "resourceRules").required()
        yield from validate_operations(constraints, operations, field)
    conditions = spec.get("matchConditions") or ()
    if old is None or _judged_by(old) != _judged_by(spec):
        yield from matching.validate_conditions(
            conditions, SPEC / "matchConditions", params=composition.params
        )
    yield from _validate_variables(spec.get("variables") or (), composition)


def _judged_by(spec: Obj) -> tuple[Any, Any]:
    return spec.get("matchConditions") or (), spec.get("paramKind")


def validate_operations(
    resources: Obj, operations: AbstractSet[str] | None, field: Field
) -> Iterator[FieldError]:
    """Report operations that a kind of policy cannot match."""
    if operations is None:
        return
    where = field / "resourceRules" / "operations"
    for rule in resources.get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            if operation not in operations:
                yield where.unsupported(operation, operations)


def _validate_param_kind(kind: Obj, field: Field) -> Iterator[FieldError]:
    version, name = kind.get("apiVersion", ""), kind.get("kind", "")
    if not version:
        yield (field / "apiVersion").required()
    else:
        yield from _validate_version(version, field / "apiVersion")
    if not name:
        yield (field / "kind").required()
        return
    text = ",".join(names.dns1035_label(name.lower()))
    if text:
        yield (field / "kind").invalid(
            name, f"may have mixed case, but should otherwise match: {text}"
        )


def _validate_version(text: str, field: Field) -> Iterator[FieldError]:
    if text.count("/") > 1:
        yield field.invalid(text, f"unexpected GroupVersion string: {text}")
        return
    group, _, version = text.rpartition("/")
    if group and (wrong := ",".join(names.dns1123_subdomain(group))):
        yield field.invalid(group, wrong)
    if not version:
        yield field.invalid(text, "version must be specified")
    elif wrong := ",".join(names.dns1035_label(version)):
        yield field.invalid(version, wrong)


def _validate_variables(variables: Sequence[Obj], composition: Composition) -> Iterator[FieldError]:
    for index, variable in enumerate(variables):
        field = (SPEC / "variables")[index]
        name, text = variable.get("name", ""), variable.get("expression", "")
        if not name.strip():
            yield (field / "name").required("name is not specified")
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            yield (field / "name").invalid(name, "must be a valid CEL identifier")
        if not text.strip():
            yield (field / "expression").required("expression is not specified")
            continue
        error = composition.add(name, text)
        if error is not None:
            yield (field / "expression").invalid(text, str(error))


def validate_binding(
    spec: Obj, *, operations: AbstractSet[str] | None = None
) -> Iterator[FieldError]:
    """Report what is wrong with the parts that both kinds of binding have."""
    policy = spec.get("policyName", "")
    if not policy:
        yield (SPEC / "policyName").required()
    else:
        for text in names.dns1123_subdomain(policy):
            yield (SPEC / "policyName").invalid(policy, text)
    if spec.get("paramRef") is not None:
        yield from _validate_param_ref(spec["paramRef"], SPEC / "paramRef")
    resources, field = spec.get("matchResources"), SPEC / "matchResources"
    if resources is not None:
        yield from matching.validate_resources(resources, field)
        yield from validate_operations(resources, operations, field)


def _validate_param_ref(reference: Obj, field: Field) -> Iterator[FieldError]:
    name, selector = reference.get("name"), reference.get("selector")
    if name:
        yield from ((field / "name").invalid(name, text) for text in names.path_segment(name))
        if selector is not None:
            yield (field / "name").forbidden("name and selector are mutually exclusive")
    if selector is not None:
        yield from selectors.validate(selector, field / "selector")
        if name:
            yield (field / "selector").forbidden("name and selector are mutually exclusive")
    if not name and selector is None:
        yield field.required("one of name or selector must be specified")
    action = reference.get("parameterNotFoundAction")
    if not action:
        yield (field / "parameterNotFoundAction").required()
    elif action not in {"Allow", "Deny"}:
        yield (field / "parameterNotFoundAction").unsupported(action, ("Deny", "Allow"))


def policy_cells(policy: Obj, key: str) -> Sequence[Any]:
    """Return the cells of a policy's row; `key` names the list that is counted."""
    kind = get(policy, "spec.paramKind")
    shown = UNSET if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"
    return (
        policy["metadata"]["name"],
        len(get(policy, f"spec.{key}") or ()),
        shown,
        Age(get(policy, "metadata.creationTimestamp")),
    )


def binding_cells(binding: Obj) -> Sequence[Any]:
    """Return the cells of a binding's row."""
    return (
        binding["metadata"]["name"],
        get(binding, "spec.policyName", ""),
        _shown_reference(get(binding, "spec.paramRef")),
        Age(get(binding, "metadata.creationTimestamp")),
    )


def _shown_reference(reference: Obj | None) -> str:
    if reference is None:
        return UNSET
    namespace, name = reference.get("namespace"), reference.get("name")
    if name:
        return f"{namespace or '*'}/{name}"
    selector = selectors.format_object(reference.get("selector"))
    return f"{namespace or '*'}/{selector}"
