"""The workers of all pods of a node, by uid: who gets which news."""

from collections.abc import Callable, Iterator

from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import States
from minikube_py.agent.kubelet.pod import TERMINAL, full_name, phase_of
from minikube_py.agent.kubelet.pod_worker import PodWorker, State
from minikube_py.agent.kubelet.qos import qos_class
from minikube_py.agent.kubelet.static.manifest import is_static
from minikube_py.api.object import Key, Obj, get, key_of, uid_of
from minikube_py.lib.tasks import Nursery

Refuse = Callable[[], Failure | None]
"""Tells why a new pod may not run here, or None."""


def _turn(worker: PodWorker) -> tuple[int, bool, float]:
    priority = int(get(worker.pod, "spec.priority") or 0)
    return -priority, qos_class(worker.pod) != "Guaranteed", worker.resizing.refused_since


class PodWorkers:
    """The workers of all pods of this node, by uid."""

    def __init__(
        self,
        context: NodeContext,
        nursery: Nursery,
        ended: Callable[[Obj], None] = lambda _: None,
    ) -> None:
        """Take `ended`, which is told of each pod of which no trace is left."""
        self._context = context
        self._ended = ended
        self._nursery = nursery
        self._workers: dict[str, PodWorker] = {}
        self._finished: set[str] = set()
        """Pods that this node is done with, while finalizers keep their objects."""
        self._next: dict[Key, tuple[Obj, Refuse]] = {}
        """Static pods that wait for the end of another one of their name: a changed manifest."""

    def update(self, pod: Obj, refuse: Refuse = lambda: None) -> None:
        """Take a pod that is new or has changed; `refuse` is asked about a new one."""
        uid = uid_of(pod)
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        if uid in self._finished:
            return
        key = key_of(pod)
        if is_static(pod) and any(key_of(worker.pod) == key for worker in self):
            self._next[key] = (pod, refuse)
            return
        worker = self._workers[uid] = PodWorker(self._context, pod, refuse())
        self._nursery.start(f"pod {full_name(pod)}", self._live(worker))

    async def _live(self, worker: PodWorker) -> None:
        try:
            await worker.run()
            if not worker.removed:
                self._finished.add(worker.uid)
        finally:
            self._workers.pop(worker.uid, None)
            self._ended(worker.pod)
        if following := self._next.pop(key_of(worker.pod), None):
            self.update(*following)

    def remove(self, uid: str) -> None:
        """Take note that a pod is gone from the cluster."""
        self._finished.discard(uid)
        self._next = {key: one for key, one in self._next.items() if uid_of(one[0]) != uid}
        if uid in self._workers:
            self._workers[uid].remove()

    def evict(self, uid: str, failure: Failure, grace: int) -> bool:
        """End a pod for the sake of the node; tell whether there was anything to end."""
        worker = self.get(uid)
        return worker is not None and worker.evict(failure, grace)

    def is_ending(self, uid: str) -> bool:
        """Tell whether something of a pod still runs."""
        worker = self.get(uid)
        return worker is not None and worker.state in (State.SYNCING, State.TERMINATING)

    def wake(self, uid: str) -> None:
        """Have a pod looked at."""
        if uid in self._workers:
            self._workers[uid].wake()

    def get(self, uid: str) -> PodWorker | None:
        """Return the worker of a pod, or None."""
        return self._workers.get(uid)

    def seen(self) -> States:
        """Return what the workers saw when they last looked."""
        return {
            identifier: (worker.uid, state)
            for worker in self
            for identifier, state in worker.observed.states
        }

    def others(self, pod: Obj) -> list[Obj]:
        """Return the other pods that hold something of the node, with what they were given."""
        return [
            worker.given
            for worker in self
            if worker.state in (State.SYNCING, State.TERMINATING)
            and phase_of(worker.pod) not in TERMINAL
            and worker.uid != uid_of(pod)
        ]

    def share_out(self) -> None:
        """Let the pods that wait for resources have what was given back, in upstream's order."""
        waiting = [worker for worker in self if worker.resizing.deferred]
        for worker in sorted(waiting, key=_turn):
            worker.allocate()

    def __iter__(self) -> Iterator[PodWorker]:
        return iter(tuple(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)
