"""Room for important pods, decided purely: which less important ones would have to go, and where.

Only nodes count whose reasons may go away with other pods. On each of them all less important pods
are taken away in thought; where the pod then fits, as many of them are put back as possible, those
first whose disruption budget would be overdrawn, and the most important first. Of the nodes, the
one is chosen whose victims matter least. The rules are those of upstream's pkg/scheduler/framework/
preemption.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from minikube_py.api import selectors
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.server.scheduler.algorithm import ask, shifted
from minikube_py.server.scheduler.candidate import Candidate, started
from minikube_py.server.scheduler.framework import Check, Cycle, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

NOT_HELPFUL = rejection("Preemption is not helpful for scheduling", final=True)
NO_VICTIMS = rejection("No preemption victims found for incoming pod", final=True)
TARGET = "DisruptionTarget"
PREEMPTED = "PreemptionByScheduler"


def importance(pod: PodInfo) -> tuple[int, float]:
    """Sort key: the most important and longest running first."""
    return -pod.priority, started(pod)


class Budgets:
    """What the disruption budgets of all namespaces allow still."""

    def __init__(self, budgets: Iterable[Obj]) -> None:
        self._budgets = list(budgets)

    def overdrawn(self, pods: Sequence[PodInfo]) -> frozenset[str]:
        """Return the uids of those among some pods, in their order, whose budgets do not last."""
        left = [int(get(one, "status.disruptionsAllowed", 0)) for one in self._budgets]
        found = set()
        for pod in pods:
            for at in self._of(pod):
                left[at] -= 1
                if left[at] < 0:
                    found.add(pod.uid)
        return frozenset(found)

    def _of(self, pod: PodInfo) -> Iterator[int]:
        """Yield the places of the budgets that a pod takes from, unless it has done so already."""
        for at, budget in enumerate(self._budgets):
            if not pod.labels or budget["metadata"].get("namespace", "") != pod.namespace:
                continue
            selector = selectors.from_object(get(budget, "spec.selector"))
            if not selector.requirements or not selector.matches(pod.labels):
                continue
            if pod.key.name not in get(budget, "status.disruptedPods", ()):
                yield at


def lesser(pod: PodInfo, node: NodeInfo) -> Sequence[PodInfo]:
    """Return the pods of a node that a pod may take the place of."""
    return [other for other in node.pods.values() if other.priority < pod.priority]


def victims_on(
    cycle: Cycle, checks: Sequence[Check], node: NodeInfo, budgets: Budgets
) -> Candidate | Rejection:
    """Return the least that has to leave a node for the pod to fit, or why that does not help."""
    room = sorted(lesser(cycle.pod, node), key=importance)
    if not room:
        return NO_VICTIMS
    trial = Trial(cycle, checks, node, room)
    why = trial.why()
    if why is not None:
        return why
    overdrawn = budgets.overdrawn(room)
    against = [other for other in room if other.uid in overdrawn]
    others = [other for other in room if other.uid not in overdrawn]
    gone = {other.uid for other in (*against, *others) if not trial.put_back(other)}
    victims = [other for other in room if other.uid in gone]
    if not victims:
        return NO_VICTIMS
    return Candidate(node.name, victims, len(gone & overdrawn))


class Trial:
    """A node in thought, without some of its pods."""

    def __init__(
        self, cycle: Cycle, checks: Sequence[Check], node: NodeInfo, gone: Sequence[PodInfo]
    ) -> None:
        self._cycle = cycle
        self._checks = checks
        self._gone = {pod.uid: pod for pod in gone}
        self._node = node.copy()
        for pod in gone:
            self._node.remove(pod.uid)

    def why(self) -> Rejection | None:
        """Return why the pod does not fit even so."""
        left = tuple(self._gone.values())
        checks = shifted(self._checks, self._node, (), left)
        rejected = ask(self._cycle, checks, self._node)
        return None if rejected is None else rejected.rejection

    def put_back(self, other: PodInfo) -> bool:
        """Put a pod back where that leaves room enough; tell whether it does."""
        self._node.add(other)
        del self._gone[other.uid]
        if self.why() is None:
            return True
        self._node.remove(other.uid)
        self._gone[other.uid] = other
        return False


def terminating_by_preemption(pod: PodInfo) -> bool:
    """Tell whether a pod is on its way out to make room."""
    if not pod.deleting:
        return False
    condition = condition_of(pod.obj, TARGET)
    return (get(condition, "status"), get(condition, "reason")) == ("True", PREEMPTED)


def explain(count: int, reasons: Iterable[Rejection], untried: int) -> str:
    """Say why preemption helps on none of the nodes."""
    numbers = Counter(text for one in reasons for text in one.reasons)
    numbers[NOT_HELPFUL.reasons[0]] += untried
    parts = sorted(f"{number} {text}" for text, number in numbers.items() if number)
    return f"0/{count} nodes are available: {', '.join(parts)}."
