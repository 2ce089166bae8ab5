"""Pods as controllers see and make them: what counts as running, and which one goes first.

The rules and their order are those of upstream's `pkg/controller/controller_utils.go`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from minikube_py.api import times
from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Obj,
    annotations_of,
    condition_of,
    get,
    has_condition,
    is_deleting,
    owner_reference,
    uid_of,
)
from minikube_py.client.controller import Context

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
ORPHANS = "orphans"
"""Name of the index that finds objects without a controller by their namespace."""
NODE = "node"
"""Name of the index that finds pods by their node."""
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
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


def is_available(pod: Obj, min_ready_seconds: float, now: datetime) -> bool:
    """Tell whether the pod has been ready for so long."""
    return is_ready(pod) and seconds_to_available(pod, min_ready_seconds, now) == 0.0


def seconds_to_available(pod: Obj, min_ready_seconds: float, now: datetime) -> float:
    """Return how long a ready pod has to stay so until it counts as available."""
    if not min_ready_seconds:
        return 0.0
    ready = ready_since(pod)
    if ready is None:
        return min_ready_seconds
    return max(min_ready_seconds - (now - ready).total_seconds(), 0.0)


def ready_since(pod: Obj) -> datetime | None:
    """Return when the pod became ready; None where it is not, or it is not known."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    moment = condition.get("lastTransitionTime")
    return times.parse(moment) if moment else None


def restarts_of(pod: Obj) -> int:
    """Return how often the container restarted that did so most."""
    statuses: Sequence[Obj] = get(pod, "status.containerStatuses", ())
    return max((status.get("restartCount", 0) for status in statuses), default=0)


def deletion_order(pods: Iterable[Obj], on_node: Mapping[str, int], now: datetime) -> list[Obj]:
    """Sort pods so that the one to delete first stands first.

    `on_node` counts the related active pods of each node. Unassigned before assigned, pending
    before running, not ready before ready, cheap before costly, where more of them run before
    where fewer do, ready for less long before longer (by powers of two), more restarts before
    fewer, younger before older.
    """

    def rank(pod: Obj) -> tuple[Any, ...]:
        node = get(pod, "spec.nodeName", "")
        return (
            bool(node),
            _PHASES.get(phase_of(pod), 2),
            is_ready(pod),
            deletion_cost(pod),
            -on_node.get(node, 0),
            _log_age(ready_since(pod), now),
            -restarts_of(pod),
            _log_age(_created(pod), now),
            uid_of(pod),
        )

    return sorted(pods, key=rank)


def deletion_cost(pod: Obj) -> int:
    """Return the cost that the pod's annotation sets, 0 where it sets none."""
    text = annotations_of(pod).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _log_age(moment: datetime | None, now: datetime) -> int:
    """Return the power of two of an age, so that ages of one size are equal."""
    age = (now - moment).total_seconds() if moment is not None else 0.0
    return math.floor(math.log2(age * 1e9)) if age > 0 else -1


def _created(obj: Obj) -> datetime | None:
    moment = obj["metadata"].get("creationTimestamp")
    return times.parse(moment) if moment else None


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
    controlled = item.owners and b'"controller":true' in item.data
    return () if controlled else (item.key.namespace,)


def index_nodes(context: Context) -> None:
    """Make pods findable by their node."""
    context.lister(PODS).add_index(NODE, _node)


def _node(item: Item) -> tuple[str, ...]:
    name = item.fields.get("spec.nodeName")
    return (name,) if name else ()
