"""Which pods end first when the machine goes down, and how long each may take: pure.

The rules are those of upstream's nodeshutdown package: pods are told apart by priority; a group
begins at its priority and ends where the next one begins, and the lowest group ends first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikube_py.agent.kubelet.qos import CRITICAL_PRIORITY, priority
from minikube_py.api.object import Obj
from minikube_py.api.times import parse_duration


class Group(NamedTuple):
    """The pods from a priority on, and how long they may take to end."""

    priority: int
    seconds: float


@dataclass(frozen=True)
class ShutdownPolicy:
    """How long the end of this node may take."""

    groups: Sequence[Group] = ()
    """Lowest priority first."""

    @property
    def seconds(self) -> float:
        """How long it may take in all; 0 where nothing is done at a shutdown."""
        return sum(group.seconds for group in self.groups)


def parse(total: str, critical: str, by_priority: Iterable[str]) -> ShutdownPolicy:
    """Read the options: two durations, or `priority=duration` for as many groups as one likes.

    Raises:
        ValueError: they make no sense, alone or together.

    """
    seconds, last = parse_duration(total or "0s"), parse_duration(critical or "0s")
    groups = sorted(_group(text) for text in by_priority)
    if groups:
        if seconds or last:
            raise ValueError("cannot specify both shutdownGracePeriodByPodPriority and others")
        if len({group.priority for group in groups}) != len(groups):
            raise ValueError("a priority of shutdownGracePeriodByPodPriority stands there twice")
        return ShutdownPolicy(groups)
    if last > seconds:
        raise ValueError(
            f"shutdownGracePeriodCriticalPods {critical} must be <= shutdownGracePeriod {total}"
        )
    if not seconds:
        return ShutdownPolicy()
    return ShutdownPolicy([Group(0, seconds - last), Group(CRITICAL_PRIORITY, last)])


def _group(text: str) -> Group:
    number, equals, duration = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not priority=duration")
    return Group(int(number), parse_duration(duration))


def turns(policy: ShutdownPolicy, pods: Iterable[Obj]) -> Iterator[tuple[Group, list[Obj]]]:
    """Yield the groups that have pods, in the order in which they end."""
    pods = list(pods)
    for index, group in enumerate(policy.groups):
        above = policy.groups[index + 1].priority if index + 1 < len(policy.groups) else None
        chosen = [
            pod
            for pod in pods
            if (index == 0 or priority(pod) >= group.priority)
            and (above is None or priority(pod) < above)
        ]
        if chosen:
            yield group, chosen
