"""Checks of what decides where a pod runs: affinity, tolerations, spreading, gates."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from minikube_py.api import names, selectors
from minikube_py.api.core.resources import NOT_POSITIVE
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_UNSATISFIABLE: Final = frozenset({"DoNotSchedule", "ScheduleAnyway"})
_INCLUSION: Final = frozenset({"Ignore", "Honor"})
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_NOT_AN_OPERATOR: Final = "not a valid selector operator"
_WEIGHT: Final = "must be in the range 1-100"
_IN_BOTH: Final = "exists in both matchLabelKeys and labelSelector"
_NO_SELECTOR: Final = "must not be specified when labelSelector is not set"


def validate_affinity(affinity: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the affinities of a pod."""
    if (node := affinity.get("nodeAffinity")) is not None:
        yield from _validate_node_affinity(node, path / "nodeAffinity")
    for key in ("podAffinity", "podAntiAffinity"):
        if (pods := affinity.get(key)) is not None:
            yield from _validate_pod_affinity(pods, path / key)


def _validate_node_affinity(affinity: Obj, path: Field) -> Iterator[FieldError]:
    if (selector := affinity.get(_REQUIRED)) is not None:
        yield from validate_node_selector(selector, path / _REQUIRED)
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        at = (path / _PREFERRED)[index]
        weight = term.get("weight") or 0
        if not 0 < weight <= 100:
            yield (at / "weight").invalid(weight, _WEIGHT)
        preference = term.get("preference") or {}
        yield from validate_node_selector_term(preference, at / "preference", check_values=False)


def validate_node_selector(selector: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a selector of nodes."""
    terms = selector.get("nodeSelectorTerms")
    path = path / "nodeSelectorTerms"
    if not terms:
        yield path.required("must have at least one node selector term")
        return
    for index, term in enumerate(terms):
        yield from validate_node_selector_term(term, path[index])


def validate_node_selector_term(
    term: Obj, path: Field, *, check_values: bool = True
) -> Iterator[FieldError]:
    """Report what is wrong with one term; values are not checked where it is a preference."""
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        at = (path / "matchExpressions")[index]
        yield from _validate_requirement(requirement, at, check_values=check_values)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        yield from _validate_field_requirement(requirement, (path / "matchFields")[index])


def _validate_requirement(
    requirement: Obj, path: Field, *, check_values: bool
) -> Iterator[FieldError]:
    values: Sequence[str] = requirement.get("values") or ()
    yield from _validate_operator(requirement.get("operator") or "", values, path)
    key = requirement.get("key") or ""
    for message in names.qualified_name(key):
        yield (path / "key").invalid(key, message)
    if check_values:
        for index, value in enumerate(values):
            for message in names.label_value(value):
                yield (path / "values")[index].invalid(value, message)


def _validate_operator(operator: str, values: Sequence[str], path: Field) -> Iterator[FieldError]:
    match operator:
        case "In" | "NotIn":
            if not values:
                yield (path / "values").required(
                    "must be specified when `operator` is 'In' or 'NotIn'"
                )
        case "Exists" | "DoesNotExist":
            if values:
                yield (path / "values").forbidden(
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        case "Gt" | "Lt":
            if len(values) != 1:
                yield (path / "values").required(
                    "must be specified single value when `operator` is 'Lt' or 'Gt'"
                )
        case _:
            yield (path / "operator").invalid(operator, _NOT_AN_OPERATOR)


def _validate_field_requirement(requirement: Obj, path: Field) -> Iterator[FieldError]:
    operator, key = requirement.get("operator") or "", requirement.get("key") or ""
    values: Sequence[str] = requirement.get("values") or ()
    if operator not in {"In", "NotIn"}:
        yield (path / "operator").invalid(operator, _NOT_AN_OPERATOR)
    elif len(values) != 1:
        yield (path / "values").required(
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        )
    if key != "metadata.name":
        yield (path / "key").invalid(key, "not a valid field selector key")
        return
    for index, value in enumerate(values):
        for message in names.dns1123_subdomain(value):
            yield (path / "values")[index].invalid(value, message)


def _validate_pod_affinity(affinity: Obj, path: Field) -> Iterator[FieldError]:
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        yield from _validate_pod_term(term, (path / _REQUIRED)[index])
    for index, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        at = (path / _PREFERRED)[index]
        weight = weighted.get("weight") or 0
        if not 0 < weight <= 100:
            yield (at / "weight").invalid(weight, _WEIGHT)
        yield from _validate_pod_term(weighted.get("podAffinityTerm") or {}, at / "podAffinityTerm")


def _validate_pod_term(term: Obj, path: Field) -> Iterator[FieldError]:
    for key in ("labelSelector", "namespaceSelector"):
        yield from selectors.validate(term.get(key), path / key)
    for namespace in term.get("namespaces") or ():
        for message in names.dns1123_label(namespace):
            yield (path / "namespace").invalid(namespace, message)
    yield from _validate_label_keys(term, path)
    topology = term.get("topologyKey") or ""
    if not topology:
        yield (path / "topologyKey").required("can not be empty")
    for message in names.qualified_name(topology):
        yield (path / "topologyKey").invalid(topology, message)


def _validate_label_keys(term: Obj, path: Field) -> Iterator[FieldError]:
    selector = term.get("labelSelector")
    match_keys: Sequence[str] = term.get("matchLabelKeys") or ()
    mismatch_keys: Sequence[str] = term.get("mismatchLabelKeys") or ()
    for key, label_keys in (("matchLabelKeys", match_keys), ("mismatchLabelKeys", mismatch_keys)):
        if label_keys and selector is None:
            yield (path / key).forbidden(_NO_SELECTOR)
            continue
        for index, label in enumerate(label_keys):
            for message in names.qualified_name(label):
                yield (path / key)[index].invalid(label, message)
    if selector is not None and match_keys:
        yield from _validate_merged_keys(selector, match_keys, path)
    for index, label in enumerate(match_keys):
        if label in mismatch_keys:
            yield (path / "matchLabelKeys")[index].invalid(
                label, "exists in both matchLabelKeys and mismatchLabelKeys"
            )


def _validate_merged_keys(
    selector: Obj, match_keys: Sequence[str], path: Field
) -> Iterator[FieldError]:
    """Report keys that the user selects by and that matchLabelKeys then adds once more."""
    seen = set(selector.get("matchLabels") or ())
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in match_keys and key in seen:
            index = len(match_keys) - 1 - list(reversed(match_keys)).index(key)
            yield path[index].invalid(key, _IN_BOTH)
        seen.add(key)


def validate_effect(effect: str, path: Field) -> Iterator[FieldError]:
    """Report an effect of a taint that there is not."""
    if effect not in EFFECTS:
        yield path.unsupported(effect, EFFECTS)


def validate_tolerations(tolerations: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report what is wrong with tolerations."""
    for index, toleration in enumerate(tolerations):
        key, operator = toleration.get("key"), toleration.get("operator") or ""
        effect = toleration.get("effect") or ""
        if (
            key
            and operator == "Exists"
            and not toleration.get("value")
            and (effect == "NoExecute" or (not effect and "tolerationSeconds" not in toleration))
            and not names.qualified_name(key)
        ):
            continue  # what nearly every pod has: not-ready and unreachable
        yield from _validate_toleration(toleration, path[index])


def _validate_toleration(toleration: Obj, path: Field) -> Iterator[FieldError]:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    effect = toleration.get("effect") or ""
    if key:
        for message in names.qualified_name(key):
            yield (path / "key").invalid(key, message)
    elif operator != "Exists":
        yield (path / "operator").invalid(
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and '
            'all keys"',
        )
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield (path / "effect").invalid(
            effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )
    yield from _validate_toleration_value(operator, toleration.get("value") or "", path)
    if effect:
        yield from validate_effect(effect, path / "effect")


def _validate_toleration_value(operator: str, value: str, path: Field) -> Iterator[FieldError]:
    path = path / "operator"
    match operator:
        case "Equal" | "":
            if messages := names.label_value(value):
                yield path.invalid(value, ";".join(messages))
        case "Exists":
            if value:
                yield path.invalid(value, "value must be empty when `operator` is 'Exists'")
        case "Lt" | "Gt":
            yield path.unsupported(operator, ("Equal", "Exists", "Lt", "Gt"))
        case _:
            yield path.unsupported(operator, ("Equal", "Exists"))


def validate_spreading(constraints: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report what is wrong with constraints on how pods spread over the topology."""
    for index, constraint in enumerate(constraints):
        at = path[index]
        yield from _validate_constraint(constraint, at)
        kind = _kind_of(constraint)
        if any(_kind_of(other) == kind for other in constraints[index + 1 :]):
            yield (at / "{topologyKey, whenUnsatisfiable}").duplicate(f"{{{kind[0]}, {kind[1]}}}")
        yield from _validate_constraint_options(constraint, at)


def _kind_of(constraint: Obj) -> tuple[str, str]:
    return constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""


def _validate_constraint(constraint: Obj, path: Field) -> Iterator[FieldError]:
    skew = constraint.get("maxSkew") or 0
    topology, action = _kind_of(constraint)
    if skew <= 0:
        yield (path / "maxSkew").invalid(skew, NOT_POSITIVE)
    if not topology:
        yield (path / "topologyKey").required("can not be empty")
    if action not in _UNSATISFIABLE:
        yield (path / "whenUnsatisfiable").unsupported(action, _UNSATISFIABLE)


def _validate_constraint_options(constraint: Obj, path: Field) -> Iterator[FieldError]:
    domains, action = constraint.get("minDomains"), constraint.get("whenUnsatisfiable") or ""
    if domains is not None:
        if domains <= 0:
            yield (path / "minDomains").invalid(domains, NOT_POSITIVE)
        if action != "DoNotSchedule":
            yield (path / "minDomains").invalid(
                domains, f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            )
    for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = constraint.get(key)
        if policy is not None and policy not in _INCLUSION:
            yield (path / key).unsupported(policy, _INCLUSION)
    selector = constraint.get("labelSelector")
    if keys := constraint.get("matchLabelKeys"):
        yield from _validate_spread_keys(keys, selector, path / "matchLabelKeys")
    yield from selectors.validate(selector, path / "labelSelector")


def _validate_spread_keys(
    keys: Sequence[str], selector: Obj | None, path: Field
) -> Iterator[FieldError]:
    selected: Collection[str] = ()
    if selector is None:
        yield path.forbidden(_NO_SELECTOR)
    else:
        selected = _keys_of(selector, keys)
    for index, key in enumerate(keys):
        for message in names.qualified_name(key):
            yield path[index].invalid(key, message)
        if key in selected:
            yield path[index].invalid(key, _IN_BOTH)


def _keys_of(selector: Obj, added: Sequence[str]) -> set[str]:
    """Return the keys that a user selects by; the last `In` of one value per key was added."""
    found = set(selector.get("matchLabels") or ())
    count: dict[str, int] = {}
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key") or ""
        single = expression.get("operator") == "In" and len(expression.get("values") or ()) == 1
        count[key] = count.get(key, 0) + (2 if key in added and not single else 1)
    found.update(key for key, times in count.items() if key not in added or times > 1)
    return found


def validate_gates(gates: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report what is wrong with scheduling gates."""
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        for message in names.qualified_name(name):
            yield path[index].invalid(name, message)
        if name in seen:
            yield path[index].duplicate(name)
        seen.add(name)
