"""Which names of a definition are accepted, and what its conditions say about that.

Two definitions of one group may not use a name twice: not as plural, singular or short name, and
not as kind or list kind. Who has a name keeps it. A definition is established once all its names
are accepted. The words are those of apiextensions-apiserver's `controller/status`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from minikube_py.api.object import Obj, condition_of, get, has_condition

NAMES_ACCEPTED = "NamesAccepted"
ESTABLISHED = "Established"
TERMINATING = "Terminating"
_ORDER = ("plural", "singular", "shortNames", "kind", "listKind", "categories")


def planned_status(crd: Obj, others: Iterable[Obj], now: str) -> Obj:
    """Return the status that a definition should have beside the others of its group."""
    resources, kinds = _taken(crd, others)
    accepted, why = _accept(crd, resources, kinds)
    status: dict[str, Any] = {**(crd.get("status") or {}), "acceptedNames": accepted}
    if why is None:
        status = _with(status, NAMES_ACCEPTED, "True", ("NoConflicts", "no conflicts found"), now)
    else:
        status = _with(status, NAMES_ACCEPTED, "False", why, now)
    if has_condition(crd, ESTABLISHED):
        return status
    if why is None:
        initial = ("InitialNamesAccepted", "the initial names have been accepted")
        return _with(status, ESTABLISHED, "True", initial, now)
    return _with(status, ESTABLISHED, "False", ("NotAccepted", "not all names are accepted"), now)


def terminating(crd: Obj, status: str, why: tuple[str, str], now: str) -> Obj:
    """Return the definition with its condition Terminating."""
    return {**crd, "status": _with(crd.get("status") or {}, TERMINATING, status, why, now)}


def _taken(crd: Obj, others: Iterable[Obj]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["metadata"]["name"] == crd["metadata"]["name"]:
            continue
        if other["spec"]["group"] != crd["spec"]["group"]:
            continue
        names = get(other, "status.acceptedNames") or {}
        resources.update(filter(None, (names.get("plural"), names.get("singular"))))
        resources.update(names.get("shortNames") or ())
        kinds.update(filter(None, (names.get("kind"), names.get("listKind"))))
    return resources, kinds


def _accept(
    crd: Obj, resources: set[str], kinds: set[str]
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """Return the names that are accepted, and reason and message of the last conflict."""
    wanted: Obj = crd["spec"]["names"]
    before: Obj = get(crd, "status.acceptedNames") or {}
    accepted = {key: before[key] for key in _ORDER if before.get(key)}
    why: tuple[str, str] | None = None
    for key, taken, reason in (
        ("plural", resources, "PluralConflict"),
        ("singular", resources, "SingularConflict"),
        ("shortNames", resources, "ShortNamesConflict"),
        ("kind", kinds, "KindConflict"),
        ("listKind", kinds, "ListKindConflict"),
    ):
        value = wanted.get(key)
        used = _used(value, before.get(key), taken)
        if used:
            why = (reason, ", ".join(f'"{name}" is already in use' for name in used))
        elif value:
            accepted[key] = value
        else:
            accepted.pop(key, None)
    accepted.pop("categories", None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    accepted = {"kind": "", "plural": "", **accepted}
    return {key: accepted[key] for key in sorted(accepted)}, why


def _used(value: Any, before: Any, taken: set[str]) -> Sequence[str]:
    """Return the names that somebody else has; one that was accepted before stays so."""
    names = [value] if isinstance(value, str) else list(value or ())
    kept = [before] if isinstance(before, str) else list(before or ())
    return [name for name in names if name in taken and name not in kept]


def _with(status: Obj, kind: str, value: str, why: tuple[str, str], now: str) -> dict[str, Any]:
    """Return the status with that condition; its time moves only when its status does."""
    reason, message = why
    old = condition_of({"status": status}, kind)
    moved = old is None or old.get("status") != value
    condition = {
        "type": kind,
        "status": value,
        "lastTransitionTime": now if moved or old is None else old.get("lastTransitionTime", now),
        "reason": reason,
        "message": message,
    }
    conditions = list(status.get("conditions") or ())
    for index, each in enumerate(conditions):
        if each.get("type") == kind:
            keep = {k: v for k, v in each.items() if k not in condition}
            conditions[index] = {**keep, **condition}
            break
    else:
        conditions.append(condition)
    return {**status, "conditions": conditions}
