"""What a DELETE does to an object: remove it, mark it, or wait. Pure.

The rules are apiserver's `registry/rest/delete.go` and `registry/generic/registry/store.go`: a
graceful kind gets a deletionTimestamp and a grace period first; an object with finalizers stays
until the last one is removed; the propagation policy adds or removes the garbage collector's own
two finalizers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from minikube_py.api import times
from minikube_py.api.errors import ConflictError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Resource

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True)
class Plan:
    """What to write: `obj` replaces the object (None: leave it), then `remove` deletes it."""

    remove: bool
    obj: Obj | None = None


def plan(resource: Resource, obj: Obj, options: Obj, now: datetime) -> Plan:
    """Decide what a DELETE with these options does to the object."""
    marked = _with_finalizers(resource, resource.prepare_for_delete(obj), options)
    grace = _grace_seconds(resource, obj, options)
    metadata = marked["metadata"]
    if metadata.get("deletionTimestamp") is not None:
        return _plan_again(marked, obj, grace, now)
    if grace == 0 and not pending_finalizers(marked):
        # Who watches a graceful kind sees it marked first, also where it goes at once.
        graceful = resource.graceful_deletion
        return Plan(remove=True, obj=mark(marked, 0, now) if graceful else None)
    return Plan(remove=False, obj=mark(marked, grace, now))


def _plan_again(marked: Obj, obj: Obj, grace: int, now: datetime) -> Plan:
    """Decide for an object that is already being deleted: its grace can only get shorter."""
    left = int(get(obj, "metadata.deletionGracePeriodSeconds", 0))
    remove = grace == 0 and not pending_finalizers(marked)
    if grace < left:
        began = _parse(str(obj["metadata"]["deletionTimestamp"])) - times.span(left)
        until = max(began + times.span(grace), now) if grace else now
        metadata = {
            **marked["metadata"],
            "deletionTimestamp": _format(until),
            "deletionGracePeriodSeconds": grace,
        }
        return Plan(remove, obj={**marked, "metadata": metadata})
    return Plan(remove, obj=None if remove or marked is obj else marked)


def last_state(obj: Obj, now: datetime) -> dict[str, Any]:
    """Return how a graceful object looked when it went: with no grace left."""
    if obj["metadata"].get("deletionTimestamp") is None:
        return mark(obj, 0, now)
    metadata = {**obj["metadata"], "deletionGracePeriodSeconds": 0}
    return {**obj, "metadata": metadata}


def mark(obj: Obj, grace_seconds: int, now: datetime) -> dict[str, Any]:
    """Return the object as being deleted; its generation rises."""
    metadata: dict[str, Any] = {
        **obj["metadata"],
        "deletionTimestamp": _format(now + times.span(grace_seconds)),
        "deletionGracePeriodSeconds": grace_seconds,
    }
    if obj["kind"] == "Namespace":  # its storage marks it in its own way
        del metadata["deletionGracePeriodSeconds"]
    if metadata.get("generation"):
        metadata["generation"] += 1
    return {**obj, "metadata": metadata}


def is_done(obj: Obj) -> bool:
    """Tell whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    return (
        metadata.get("deletionTimestamp") is not None
        and not metadata.get("deletionGracePeriodSeconds")
        and not pending_finalizers(obj)
    )


def pending_finalizers(obj: Obj) -> Sequence[str]:
    """Return all that must be removed first; namespaces have finalizers in their spec too."""
    own: Sequence[str] = obj["metadata"].get("finalizers") or ()
    if obj["kind"] == "Namespace":
        return [*own, *get(obj, "spec.finalizers", ())]
    return own


def check_preconditions(resource: Resource, obj: Obj, options: Obj) -> None:
    """Raise ConflictError where the object is not the one that the caller means."""
    metadata = obj["metadata"]
    wanted = options.get("preconditions") or {}
    for field, title, how in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        value = wanted.get(field)
        if value is not None and value != metadata.get(field):
            details = details_of(resource, metadata["name"])
            raise ConflictError(
                f'Operation cannot be fulfilled on {resource.group_kind} "{metadata["name"]}": '
                f"the {title} in the precondition ({value}) does not match the {title} in record "
                f"({metadata.get(field)}). The object might have been {how}",
                details={**details, "kind": resource.kind},
            )


def details_of(resource: Resource, name: str, uid: str = "") -> dict[str, Any]:
    """Return the `details` of a Status about one object."""
    details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid}
    return {key: value for key, value in details.items() if value}


def _with_finalizers(resource: Resource, obj: Obj, options: Obj) -> Obj:
    """Put the garbage collector's finalizers in line with the propagation policy."""
    have = list(obj["metadata"].get("finalizers") or ())
    want = [name for name in have if name not in (ORPHAN, FOREGROUND)]
    policy = _policy(resource, options, have)
    if policy == "Orphan":
        want.append(ORPHAN)
    elif policy == "Foreground":
        want.append(FOREGROUND)
    if sorted(want) == sorted(have):
        return obj
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    if want:
        metadata["finalizers"] = want
    return {**obj, "metadata": metadata}


def _policy(resource: Resource, options: Obj, have: Sequence[str]) -> str:
    asked = options.get("propagationPolicy")
    if asked is not None:
        return str(asked)
    if options.get("orphanDependents") is not None:
        return "Orphan" if options["orphanDependents"] else "Background"
    if ORPHAN in have:
        return "Orphan"
    if FOREGROUND in have:
        return "Foreground"
    return resource.default_garbage_collection


def _grace_seconds(resource: Resource, obj: Obj, options: Obj) -> int:
    """Return the grace period; pods that run nowhere, or have ended, need none."""
    if not resource.graceful_deletion:
        return 0
    asked = options.get("gracePeriodSeconds")
    own = get(obj, "spec.terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    grace = int(asked if asked is not None else own)
    if not get(obj, "spec.nodeName") or get(obj, "status.phase") in ("Succeeded", "Failed"):
        return 0
    return max(grace, 0) if grace >= 0 else 1


def _format(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text)
