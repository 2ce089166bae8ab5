"""The templates that a stateful set ever had, as ControllerRevisions.

The data of a revision is the patch that sets the template; two revisions with equal data are the
same, and going back to an old template gives its revision the newest number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api.apps import CONTROLLERREVISIONS
from minikube_py.api.object import (
    Obj,
    annotations_of,
    evolve,
    get,
    key_of,
    owner_reference,
    uid_of,
    without,
)
from minikube_py.client.actions import Action, Create, Delete, Patch
from minikube_py.server.controllers.deployment_revisions import template_hash
from minikube_py.server.controllers.revision_data import data_of, same_data

HASH_LABEL = "controller.kubernetes.io/hash"
_PREFIX_MAX = 223
"""Longest part of a revision's name before the hash."""


@dataclass(frozen=True)
class Revisions:
    """The history of one stateful set, and which of it counts now."""

    history: Sequence[Obj]
    """All revisions, oldest first."""
    current: Obj
    """What the pods below the partition are made of."""
    update: Obj
    """What the set's template is now."""


def revisions_of(sts: Obj, found: Iterable[Obj]) -> Revisions | None:
    """Tell which revision is which; None where the template has no revision yet."""
    history = sorted(found, key=_by_number)
    update = matching(sts, history)
    if update is None:
        return None
    named = get(sts, "status.currentRevision", "")
    current = next((one for one in history if one["metadata"]["name"] == named), update)
    return Revisions(history, current, update)


def _by_number(revision: Obj) -> tuple[int, str, str]:
    metadata = revision["metadata"]
    return number_of(revision), metadata.get("creationTimestamp", ""), metadata["name"]


def matching(sts: Obj, history: Sequence[Obj]) -> Obj | None:
    """Return the newest revision of the set's template."""
    wanted = data_of(sts)
    return next((one for one in reversed(history) if same_data(one, wanted)), None)


def number_of(revision: Obj) -> int:
    """Return the revision's number."""
    return int(revision.get("revision", 0))


def template_of(revision: Obj) -> Obj:
    """Return the pod template that a revision holds."""
    return without(revision["data"]["spec"]["template"], "$patch")


def name_of(revision: Obj) -> str:
    """Return the revision's name, which its pods carry in a label."""
    return str(revision["metadata"]["name"])


def new_revision(sts: Obj, number: int) -> dict[str, Any]:
    """Return the revision to create for the set's template."""
    data = data_of(sts)
    digest = template_hash(data, get(sts, "status.collisionCount"))
    metadata: dict[str, Any] = {
        "name": f"{sts['metadata']['name'][:_PREFIX_MAX]}-{digest}",
        "namespace": sts["metadata"]["namespace"],
        "labels": {**(get(sts, "spec.template.metadata.labels") or {}), HASH_LABEL: digest},
        "ownerReferences": [owner_reference(sts)],
    }
    if annotations_of(sts):
        metadata["annotations"] = annotations_of(sts)
    kind = {"apiVersion": CONTROLLERREVISIONS.api_version, "kind": CONTROLLERREVISIONS.kind}
    return {**kind, "metadata": metadata, "data": data, "revision": number}


def plan_revision(sts: Obj, found: Iterable[Obj]) -> Iterator[Action]:
    """Create the revision of the template, or make an old one the newest again."""
    history = sorted(found, key=_by_number)
    newest = number_of(history[-1]) if history else 0
    update = matching(sts, history)
    if update is None:
        yield Create(CONTROLLERREVISIONS, new_revision(sts, newest + 1))
    elif update is not history[-1]:
        guard = {"uid": uid_of(update), "resourceVersion": update["metadata"]["resourceVersion"]}
        patch = {"metadata": guard, "revision": newest + 1}
        yield Patch(CONTROLLERREVISIONS, key_of(update), patch)


def plan_truncation(sts: Obj, revisions: Revisions, used: Iterable[str]) -> Iterator[Action]:
    """Delete the oldest revisions beyond the limit that no pod was made of."""
    live = {name_of(revisions.current), name_of(revisions.update), *used}
    idle = [one for one in revisions.history if name_of(one) not in live]
    for one in idle[: max(len(idle) - sts["spec"].get("revisionHistoryLimit", 10), 0)]:
        yield Delete(CONTROLLERREVISIONS, key_of(one), uid_of(one))


def with_collision(sts: Obj) -> Obj:
    """Return the set with another seed for the hash of its revisions."""
    return evolve(sts, "status.collisionCount", get(sts, "status.collisionCount", 0) + 1)
