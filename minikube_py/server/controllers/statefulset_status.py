"""What a stateful set says of itself: its pods counted, by revision and by how well they do."""

from collections.abc import Iterable, Iterator
from typing import Any

from minikube_py.api.apps import STATEFULSETS
from minikube_py.api.object import Obj, evolve
from minikube_py.client.actions import Action, update_status
from minikube_py.server.controllers.pod_facts import PodFacts
from minikube_py.server.controllers.statefulset_pods import (
    View,
    is_rolling,
    is_running_ready,
    revision_of,
)
from minikube_py.server.controllers.statefulset_revisions import name_of
from minikube_py.server.controllers.status import same_status


def plan_status(view: View) -> Iterator[Action]:
    """Write the status where it differs from what is seen."""
    status = derive_status(view)
    if not same_status(view.sts.get("status") or {}, status):
        yield update_status(STATEFULSETS, evolve(view.sts, "status", status))


def derive_status(view: View) -> dict[str, Any]:
    """Count the pods; an update that all have seen is over."""
    pods = list(view.pods.values())
    current, update = name_of(view.revisions.current), name_of(view.revisions.update)
    before: Obj = view.sts.get("status") or {}
    status: dict[str, Any] = {
        **{key: before[key] for key in ("collisionCount", "conditions") if before.get(key)},
        "observedGeneration": view.sts["metadata"].get("generation", 0),
        "replicas": len(pods),
        "readyReplicas": sum(map(is_running_ready, pods)),
        "availableReplicas": sum(map(view.is_available, pods)),
        "currentReplicas": _count(pods, current),
        "updatedReplicas": _count(pods, update),
        "currentRevision": current,
        "updateRevision": update,
    }
    counts = {status[key] for key in ("replicas", "readyReplicas", "updatedReplicas")}
    if is_rolling(view.sts) and counts == {view.spec.get("replicas", 1)}:
        status |= {"currentRevision": update, "currentReplicas": status["updatedReplicas"]}
    return status


def _count(pods: Iterable[PodFacts], revision: str) -> int:
    return sum(revision_of(pod) == revision and not pod.deleting for pod in pods)


def seconds_to_next(view: View) -> float | None:
    """Return when the next ready pod becomes available, None where none is waited for."""
    ready = (pod for pod in view.pods.values() if is_running_ready(pod))
    waits = (pod.seconds_to_available(view.min_ready_seconds, view.now) for pod in ready)
    return min((wait for wait in waits if wait > 0), default=None)
