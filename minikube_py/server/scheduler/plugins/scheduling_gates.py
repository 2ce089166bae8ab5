"""A pod is not tried while it has scheduling gates."""

from collections.abc import Iterable

from minikube_py.api.core import PODS
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Rejection, rejection
from minikube_py.server.scheduler.pod_info import PodInfo


class SchedulingGates:
    """Asks whether somebody has yet to open a gate."""

    name = "SchedulingGates"

    def events_to_register(self) -> Iterable[Registered]:
        """Only the pod's own change helps."""
        return (Registered(PODS, Action.POD_GATES_ELIMINATED, _is_the_pod),)

    def pre_enqueue(self, pod: PodInfo) -> Rejection | None:
        """Name the gates."""
        if not pod.gates:
            return None
        gates = " ".join(pod.gates)
        return rejection(f"waiting for scheduling gates: [{gates}]", final=True)


def _is_the_pod(pod: PodInfo, event: ClusterEvent) -> bool:
    return event.new is not None and event.new.uid == pod.uid
