"""The most important pod comes first; of equals that with the earliest deadline, then the oldest.

The deadline is an annotation of our own (`kpy.dev/deadline`, RFC 3339); pods without come last.
"""

from minikube_py.server.scheduler.pod_info import PodInfo

NEVER = float("inf")


class PrioritySort:
    """Orders the pods that wait."""

    name = "PrioritySort"

    def sort_key(self, pod: PodInfo, since: float) -> tuple[float, float, float]:
        """Return priority, deadline in seconds of the epoch, and time of arrival."""
        deadline = pod.deadline
        return -pod.priority, NEVER if deadline is None else deadline, since
