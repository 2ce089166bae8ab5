"""What objects count against resource quotas: the pure part that admission and controller share.

An `Evaluator` knows one kind: which names of a quota it answers for, how much an object uses of
them, which scopes an object is in. Kinds without rules of their own are counted one by one, as
`count/<plural>.<group>`. The rules are those of upstream's `pkg/quota/v1`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from minikube_py.api import quantity, selectors
from minikube_py.api.object import Obj, get
from minikube_py.api.quantity import ZERO, Quantity
from minikube_py.api.selectors import Operator, Requirement

Amounts = Mapping[str, Quantity]
ONE: Final = quantity.of(1)
IGNORED: Final = frozenset(
    {
        "bindings",
        "componentstatuses",
        "events",
        "events.events.k8s.io",
        "localsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
        "subjectaccessreviews.authorization.k8s.io",
        "tokenreviews.authentication.k8s.io",
    }
)
"""What is never counted: events, and kinds that are not stored."""
_OPERATORS: Final[Mapping[str, Operator]] = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One write, as far as quotas care."""

    operation: str
    """CREATE or UPDATE."""
    new: Obj
    old: Obj | None = None
    subresource: str = ""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """How one kind counts."""

    counts: Callable[[str], bool]
    """Tells whether a name of a quota is this kind's."""
    usage: Callable[[Obj, datetime], Amounts]
    """(object, now) -> what it uses; the names may be more than any quota has."""
    in_scope: Callable[[Obj, Obj], bool] = lambda _requirement, _obj: False
    """(requirement of a scope selector, object) -> whether the object meets it."""
    complaint: Callable[[Collection[str], Obj], str] = lambda _names, _obj: ""
    """(names of a quota, object) -> what the object must say to be counted; "" where it does."""
    handles: Callable[[Change], bool] = lambda change: (
        change.operation == "CREATE" and not change.subresource
    )
    """Tells whether a write may change what is used."""

    def names(self, hard: Collection[str]) -> list[str]:
        """Return the names of a quota that this kind answers for, sorted."""
        return sorted(name for name in hard if self.counts(name))


def count_name(group_resource: str) -> str:
    """Return the name under which the objects of a kind are counted."""
    return f"count/{group_resource}"


def count_evaluator(group_resource: str, alias: str = "") -> Evaluator:
    """Return the evaluator of a kind whose objects are just counted."""
    names = frozenset({count_name(group_resource), alias} - {""})
    usage = dict.fromkeys(names, ONE)
    return Evaluator(counts=names.__contains__, usage=lambda _obj, _now: usage)


def amounts(listed: Mapping[str, str] | None) -> dict[str, Quantity]:
    """Parse a list of resources."""
    return {name: quantity.parse(str(amount)) for name, amount in (listed or {}).items()}


def texts(parsed: Amounts) -> dict[str, str]:
    """Return a list of resources as an object holds it."""
    return {name: str(amount) for name, amount in parsed.items()}


def added(left: Amounts, right: Amounts) -> dict[str, Quantity]:
    """Return the sum of two lists of resources."""
    total = dict(left)
    for name, amount in right.items():
        total[name] = total[name] + amount if name in total else amount
    return total


def growth(new: Amounts, old: Amounts) -> dict[str, Quantity]:
    """Return by how much each resource grew; what shrank is 0."""
    return {name: max(new.get(name, ZERO) - old.get(name, ZERO), ZERO) for name in {**new, **old}}


def masked(listed: Amounts, names: Collection[str]) -> dict[str, Quantity]:
    """Return the resources of these names."""
    return {name: amount for name, amount in listed.items() if name in names}


def scopes_of(quota: Obj) -> Iterator[Obj]:
    """Yield all that a quota demands of an object, as requirements of a scope selector."""
    for scope in get(quota, "spec.scopes", ()):
        yield {"scopeName": scope, "operator": "Exists"}
    yield from get(quota, "spec.scopeSelector.matchExpressions", ())


def in_scopes(evaluator: Evaluator, quota: Obj, obj: Obj) -> bool:
    """Tell whether a quota means this object; without scopes it means all."""
    return all(evaluator.in_scope(requirement, obj) for requirement in scopes_of(quota))


def selects(requirement: Obj, names: Collection[str]) -> bool:
    """Tell whether a requirement on class names is met by one of them, or by having none."""
    scope = requirement["scopeName"]
    operator = requirement.get("operator", "")
    if operator == "Exists":
        return bool(names)
    if operator not in _OPERATORS:
        return False
    values = tuple(sorted(requirement.get("values") or ()))
    needed = Requirement(scope, _OPERATORS[operator], values)
    selector = selectors.LabelSelector((needed,))
    if not names:
        return selector.matches({})
    return any(selector.matches({scope: name}) for name in names)


def used_by(
    evaluator: Evaluator, quota: Obj, objects: Iterable[Obj], now: datetime
) -> dict[str, Quantity]:
    """Return what objects of one kind use of a quota; 0 for what none uses."""
    names = evaluator.names(get(quota, "spec.hard", {}))
    total = dict.fromkeys(names, ZERO)
    for obj in objects:
        if in_scopes(evaluator, quota, obj):
            total = added(total, masked(evaluator.usage(obj, now), names))
    return total
