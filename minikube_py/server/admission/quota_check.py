"""Whether a write fits into quotas, and what they are used for after it: the pure part.

The rules, their order and the texts are those of apiserver's
`admission/plugin/resourcequota/controller.go`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from minikube_py.api.core.quota import (
    Amounts,
    Change,
    Evaluator,
    added,
    amounts,
    growth,
    in_scopes,
    masked,
    scopes_of,
    texts,
)
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.quantity import ZERO


class QuotaError(Exception):
    """The write does not fit; the message says into which quota and why."""


@dataclass(frozen=True)
class LimitedResource:
    """What nobody may use without a quota that covers it; an administrator's choice."""

    group_resource: str
    match_contains: tuple[str, ...] = ()
    """Parts of names of resources, such as `.storageclass.storage.k8s.io/`."""
    match_scopes: tuple[Obj, ...] = ()


class Asked(NamedTuple):
    """One write that asks for quota."""

    group_resource: str
    evaluator: Evaluator
    change: Change
    now: datetime
    limited: Sequence[LimitedResource] = ()


NOTHING: Final[Mapping[str, str]] = {}


def charged(quotas: Sequence[Obj], asked: Asked) -> Sequence[Obj]:
    """Return the quotas with what a write uses added, the same where it uses nothing of them.

    Raises:
        QuotaError: it uses more than is left, or cannot be counted.

    """
    evaluator, change = asked.evaluator, asked.change
    concerned = [quota for quota in quotas if _is_concerned(evaluator, quota, change.new)]
    for quota in concerned:
        _check_countable(evaluator, quota, change.new)
    used = evaluator.usage(change.new, asked.now)
    negative = sorted(name for name, amount in used.items() if amount < ZERO)
    if negative:
        raise QuotaError(f"quota usage is negative for resource(s): {','.join(negative)}")
    deltas = {_name(quota): _delta(asked, quota, used) for quota in concerned}
    if not any(deltas.values()) and (concerned or not _grows(asked, used)):
        return quotas
    _check_covered(asked, quotas, concerned, used)
    return [_charge(quota, deltas.get(_name(quota)) or {}, change) for quota in quotas]


def _name(quota: Obj) -> str:
    return str(quota["metadata"]["name"])


def _is_concerned(evaluator: Evaluator, quota: Obj, obj: Obj) -> bool:
    hard = get(quota, "status.hard", NOTHING)
    return bool(evaluator.names(hard)) and in_scopes(evaluator, quota, obj)


def _check_countable(evaluator: Evaluator, quota: Obj, obj: Obj) -> None:
    names = evaluator.names(get(quota, "status.hard", NOTHING))
    complaint = evaluator.complaint(names, obj)
    if complaint:
        raise QuotaError(f"failed quota: {_name(quota)}: {complaint}")
    known = get(quota, "status.used", NOTHING)
    if any(name not in known for name in names):
        raise QuotaError(f"status unknown for quota: {_name(quota)}, resources: {','.join(names)}")


def _delta(asked: Asked, quota: Obj, used: Amounts) -> Amounts:
    """Return what a write adds to a quota; what the old object used counts where it was in it."""
    change = asked.change
    if change.old is not None and _is_concerned(asked.evaluator, quota, change.old):
        used = growth(used, asked.evaluator.usage(change.old, asked.now))
    return {name: amount for name, amount in used.items() if amount}


def _grows(asked: Asked, used: Amounts) -> bool:
    old = asked.change.old
    before = asked.evaluator.usage(old, asked.now) if old is not None else {}
    return any(growth(used, before).values())


def _check_covered(
    asked: Asked, quotas: Sequence[Obj], concerned: Sequence[Obj], used: Amounts
) -> None:
    """Refuse what is limited by default and in no quota."""
    own = [one for one in asked.limited if one.group_resource == asked.group_resource]
    limited = {
        name
        for one in own
        for name, amount in used.items()
        if amount > ZERO and any(part in name for part in one.match_contains)
    }
    covered = {
        name
        for quota in concerned
        for name in asked.evaluator.names(get(quota, "status.hard", NOTHING))
    }
    if missing := sorted(limited - covered):
        raise QuotaError(f"insufficient quota to consume: {','.join(missing)}")
    wanted = _met(asked, (scope for one in asked.limited for scope in one.match_scopes))
    given = {s["scopeName"] for q in quotas for s in _met(asked, scopes_of(q))}
    uncovered = [scope for scope in wanted if scope["scopeName"] not in given]
    if uncovered:
        shown = " ".join(_shown(scope) for scope in uncovered)
        raise QuotaError(f"insufficient quota to match these scopes: [{shown}]")


def _met(asked: Asked, scopes: Iterable[Obj]) -> list[Obj]:
    return [scope for scope in scopes if asked.evaluator.in_scope(scope, asked.change.new)]


def _shown(scope: Obj) -> str:
    values = " ".join(scope.get("values") or ())
    return f"{{{scope['scopeName']} {scope.get('operator', '')} [{values}]}}"


def _charge(quota: Obj, delta: Amounts, change: Change) -> Obj:
    hard = amounts(get(quota, "status.hard"))
    asked = masked(delta, hard)
    if not asked:
        return quota
    used = amounts(get(quota, "status.used"))
    after = added(used, asked)
    # What a status reports has happened; it is counted, not refused.
    over = [name for name in asked if after[name] > hard[name]]
    if over and change.subresource != "status":
        raise QuotaError(
            f"exceeded quota: {_name(quota)}, requested: {_listed(asked, over)}, "
            f"used: {_listed(used, over)}, limited: {_listed(hard, over)}"
        )
    return evolve(quota, "status.used", texts(after))


def _listed(listed: Amounts, names: Collection[str]) -> str:
    return ",".join(f"{name}={listed[name]}" for name in sorted(names) if name in listed)
