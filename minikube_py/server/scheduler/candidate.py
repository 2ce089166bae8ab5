"""A node that could have room for a pod, and what that would cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.api import times
from minikube_py.api.object import get
from minikube_py.server.scheduler.pod_info import PodInfo

PRIORITY_SHIFT = 2**31
"""Makes every priority positive, so that fewer victims always sum up to less."""


@dataclass(frozen=True)
class Candidate:
    """A node and who would have to leave it."""

    node: str
    victims: Sequence[PodInfo]
    """The most important first; never empty."""
    violations: int = 0
    """How many of them go against a disruption budget."""

    def cost(self) -> tuple[int, int, int, int, float, str]:
        """Sort key: budgets kept, least important victims, fewest, those that started last."""
        priorities = [victim.priority for victim in self.victims]
        top = max(priorities)
        first = min(started(victim) for victim in self.victims if victim.priority == top)
        total = sum(priority + PRIORITY_SHIFT for priority in priorities)
        return self.violations, top, total, len(self.victims), -first, self.node


def started(pod: PodInfo) -> float:
    """Return when the pod started, as seconds of the epoch."""
    moment = get(pod.obj, "status.startTime") or get(pod.obj, "metadata.creationTimestamp")
    return times.parse(moment).timestamp() if moment else 0.0
