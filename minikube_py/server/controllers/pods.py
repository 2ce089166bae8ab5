"""Pods as controllers see and make them: what counts as running, and which one goes first.

The rules and their order are those of upstream's `pkg/controller/controller_utils.go`.
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Obj,
    get,
    has_condition,
    is_deleting,
    owner_reference,
)
from minikube_py.client.controller import Context

ORPHANS = "orphans"
"""Name of the index that finds objects without a controller by their namespace."""
NODE = "node"
"""Name of the index that finds pods by their node."""
_NAME_MAX = 253 - 5
"""Longest prefix of a generated name; the server adds five characters."""


def phase_of(pod: Obj) -> str:
    """Return status.phase; a pod that nobody looked at yet is pending."""
    return str(get(pod, "status.phase", "Pending"))


def is_finished(pod: Obj) -> bool:
    """Tell whether all containers have ended for good."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """Tell whether the pod counts as a replica: neither finished nor on its way out."""
    return not is_finished(pod) and not is_deleting(pod)


def is_terminating(pod: Obj) -> bool:
    """Tell whether the pod still runs and is on its way out."""
    return not is_finished(pod) and is_deleting(pod)


def is_ready(pod: Obj) -> bool:
    """Tell whether the pod's condition Ready is true."""
    return has_condition(pod, "Ready")


def restarts_of(pod: Obj) -> int:
    """Return how often the container restarted that did so most."""
    statuses: Sequence[Obj] = get(pod, "status.containerStatuses", ())
    return max((status.get("restartCount", 0) for status in statuses), default=0)


def new_pod(owner: Obj, template: Obj) -> dict[str, Any]:
    """Return the pod that a controller creates for `owner` from a pod template."""
    given = template.get("metadata") or {}
    metadata = {
        "generateName": f"{owner['metadata']['name'][: _NAME_MAX - 1]}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    for key in ("labels", "annotations", "finalizers"):
        if given.get(key):
            metadata[key] = given[key]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def orphans(item: Item) -> tuple[str, ...]:
    """Index objects without a controller by namespace."""
    return () if item.controller else (item.key.namespace,)


def index_nodes(context: Context) -> None:
    """Make pods findable by their node."""
    context.lister(PODS).add_index(NODE, _node)


def _node(item: Item) -> tuple[str, ...]:
    name = item.fields.get("spec.nodeName")
    return (name,) if name else ()
