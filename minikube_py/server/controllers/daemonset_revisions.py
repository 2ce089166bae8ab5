"""The history of a daemon set: a controller revision for every template that it had.

The revision whose data equal the template is the current one, whatever its hash; its hash labels
the pods. A rollback gives the revision of the old template the newest number.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minikube_py.api.apps import CONTROLLERREVISIONS
from minikube_py.api.object import (
    Obj,
    annotations_of,
    evolve,
    get,
    is_deleting,
    key_of,
    labels_of,
    owner_reference,
    uid_of,
)
from minikube_py.client.actions import Action, Create, Delete, Update
from minikube_py.server.controllers.deployment_revisions import template_hash
from minikube_py.server.controllers.revision_data import data_of, same_data

HASH_LABEL = "controller-revision-hash"


def current(ds: Obj, revisions: Iterable[Obj]) -> Obj | None:
    """Return the newest revision of the template that the daemon set has now."""
    data = data_of(ds)
    same = (one for one in revisions if same_data(one, data))
    return max(same, key=number_of, default=None)


def number_of(revision: Obj) -> int:
    """Return the number of a revision."""
    return int(revision.get("revision", 0))


def hash_of(revision: Obj) -> str:
    """Return the hash that pods of a revision are labelled with."""
    return str(labels_of(revision).get(HASH_LABEL, ""))


def new_revision(ds: Obj, number: int) -> dict[str, Any]:
    """Return the revision of the template that the daemon set has now."""
    template = ds["spec"]["template"]
    digest = template_hash(template, get(ds, "status.collisionCount"))
    metadata = {
        "name": f"{ds['metadata']['name']}-{digest}",
        "namespace": ds["metadata"]["namespace"],
        "labels": {**labels_of(template), HASH_LABEL: digest},
        "ownerReferences": [owner_reference(ds)],
    }
    if annotations_of(ds):
        metadata["annotations"] = annotations_of(ds)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": data_of(ds),
        "revision": number,
    }


def plan_current(ds: Obj, revisions: Sequence[Obj]) -> Iterator[Action]:
    """Make the revision of the template where it is absent, and the newest where it is old."""
    found = current(ds, revisions)
    others = max((number_of(one) for one in revisions if one is not found), default=0)
    if found is None:
        yield Create(CONTROLLERREVISIONS, new_revision(ds, others + 1))
        return
    wanted = found if number_of(found) > others else evolve(found, "revision", others + 1)
    if not hash_of(wanted):
        digest = template_hash(ds["spec"]["template"], get(ds, "status.collisionCount"))
        wanted = evolve(wanted, "metadata.labels", {**labels_of(wanted), HASH_LABEL: digest})
    if wanted is not found:
        yield Update(CONTROLLERREVISIONS, wanted)


def plan_history(ds: Obj, revisions: Sequence[Obj], live: Iterable[str]) -> Iterator[Action]:
    """Delete the oldest revisions beyond the limit that no pod has; `live` are the pods' hashes."""
    found, used = current(ds, revisions), frozenset(live)
    old = sorted((one for one in revisions if one is not found), key=number_of)
    surplus = len(old) - int(ds["spec"].get("revisionHistoryLimit", 10))
    unused = [one for one in old if hash_of(one) not in used and not is_deleting(one)]
    for one in unused[: max(surplus, 0)]:
        yield Delete(CONTROLLERREVISIONS, key_of(one), uid_of(one))
