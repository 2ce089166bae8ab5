"""What a pod is given for itself before it starts: devices, processors, memory, by one decision.

    hints of devices, processors, memory --> topology policy --> affinity --> given, written down

A pod that asks for none of it costs nothing. One pod is looked at after the other, so that nothing
is promised twice; what was given stays given until the pod has ended. Upstream: pkg/kubelet/cm.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from minikube_py.agent.cri.errors import CriError, CriNotFoundError
from minikube_py.agent.cri.runtime import Container, Runtime
from minikube_py.agent.kubelet import cdi
from minikube_py.agent.kubelet.config import Extras
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.devices.allocation import DeviceAllocations
from minikube_py.agent.kubelet.dra.claims import DraClaims
from minikube_py.agent.kubelet.dra.drivers import ClaimError
from minikube_py.agent.kubelet.errors import StartRefusedError, SyncError
from minikube_py.agent.kubelet.observed import CONTAINER_NAME, POD_UID
from minikube_py.agent.kubelet.pod import Spec, full_name, specs_of
from minikube_py.agent.kubelet.topology import cpuset, demand
from minikube_py.agent.kubelet.topology.cpus import StaticCpus
from minikube_py.agent.kubelet.topology.errors import AdmissionError, TopologyAffinityError
from minikube_py.agent.kubelet.topology.hints import Hints, Nodes, Policy, merge
from minikube_py.agent.kubelet.topology.machine import Topology
from minikube_py.agent.kubelet.topology.memory import StaticMemory
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
RECONCILE_SECONDS = 10.0
"""When what a runtime refused is tried again; upstream's cpuManagerReconcilePeriod."""


@dataclass(frozen=True, kw_only=True)
class TopologySettings:
    """How a node gives parts of its machine to containers."""

    machine: Topology | None = None
    """None where no policy needs to know it."""
    policy: Policy = Policy()
    cpus: StaticCpus | None = None
    memory: StaticMemory | None = None


NO_TOPOLOGY = TopologySettings()


class Assignments:
    """What all pods of this node have for themselves."""

    def __init__(
        self,
        plugins: tuple[DeviceAllocations, DraClaims],
        topology: TopologySettings = NO_TOPOLOGY,
        *,
        resolve_cdi: bool = False,
    ) -> None:
        """Take `resolve_cdi` where the runtime does not know the Container Device Interface."""
        self.devices, self.claims = plugins
        self.topology = topology
        self._resolve_cdi = resolve_cdi
        self._lock = asyncio.Lock()
        self._moved = asyncio.Event()
        """Set when running containers may have to use other processors."""
        self._had: dict[str, str] = {}
        """The processors that containers were told to use, by id."""

    # --- before a pod starts ---

    async def admit(self, pod: Obj, running: Iterable[str] = ()) -> Failure | None:
        """Give a pod what it asks for; return why it cannot be.

        What `running` containers were given is not asked for anew where that is not known any more.
        """
        if not self._concerns(pod):
            return None
        async with self._lock:
            try:
                await self._admit(pod, frozenset(running))
            except AdmissionError as error:
                await self._release(uid_of(pod))
                log.info("pod not admitted pod=%s error=%s", full_name(pod), error)
                return Failure(error.reason, f"Pod was rejected: {error.message}")
            finally:
                self._admitted(uid_of(pod))
        return None

    def _concerns(self, pod: Obj) -> bool:
        settings = self.topology
        if settings.cpus or settings.memory or settings.policy.is_strict:
            return True
        return any(True for spec in _specs(pod) for _ in self.devices.wanted(spec.container))

    async def _admit(self, pod: Obj, running: frozenset[str]) -> None:
        whole: Nodes | None = None
        if self.topology.policy.scope == "pod":
            whole = self._affinity(self._pod_hints(pod))
        moved = False
        for spec in _specs(pod):
            nodes = whole
            if self.topology.policy.scope != "pod":
                nodes = self._affinity(self._hints(pod, spec))
            moved = await self._allocate(pod, spec, nodes, running) or moved
        if moved:
            await self._save()

    def _affinity(self, hints: Callable[[list[int]], list[Hints]]) -> Nodes | None:
        """Return where all that is asked for should come from; raises AdmissionError."""
        machine, policy = self.topology.machine, self.topology.policy
        if machine is None or policy.name == "none":
            return None
        nodes = sorted(machine.nodes)
        best, admitted = merge(hints(nodes), frozenset(nodes), policy, machine.distance)
        if not admitted:
            raise TopologyAffinityError
        return best.nodes

    def _hints(self, pod: Obj, spec: Spec) -> Callable[[list[int]], list[Hints]]:
        cpus, memory = self.topology.cpus, self.topology.memory

        def ask(nodes: list[int]) -> list[Hints]:
            return [
                self.devices.hints(pod, spec, nodes),
                cpus.hints(pod, spec, nodes) if cpus else {},
                memory.hints(pod, spec, nodes) if memory else {},
            ]

        return ask

    def _pod_hints(self, pod: Obj) -> Callable[[list[int]], list[Hints]]:
        cpus, memory = self.topology.cpus, self.topology.memory

        def ask(nodes: list[int]) -> list[Hints]:
            devices = demand.of_pod(pod, lambda spec: dict(self.devices.wanted(spec.container)))
            count = demand.of_pod(pod, lambda spec: {"cpu": demand.cpus(pod, spec.container)})
            asked = demand.of_pod(pod, lambda spec: demand.memory(pod, spec.container))
            return [
                self.devices.pod_hints(devices, nodes),
                cpus.pod_hints(count.get("cpu", 0), nodes) if cpus else {},
                memory.pod_hints(asked, nodes) if memory else {},
            ]

        return ask

    async def _allocate(
        self, pod: Obj, spec: Spec, nodes: Nodes | None, running: frozenset[str]
    ) -> bool:
        cpus, memory = self.topology.cpus, self.topology.memory
        if spec.name not in running:
            await self.devices.allocate(pod, spec, nodes)
        moved = cpus.allocate(pod, spec, nodes) if cpus else False
        return (memory.allocate(pod, spec, nodes) if memory else False) or moved

    def _admitted(self, uid: str) -> None:
        self.devices.admitted(uid)
        if self.topology.cpus:
            self.topology.cpus.admitted(uid)

    async def prepare(self, pod: Obj) -> None:
        """Have the claims of a pod prepared, before its sandbox is made; raises SyncError."""
        try:
            await self.claims.prepare(pod)
        except ClaimError as error:
            raise SyncError(
                f"Failed to prepare dynamic resources: {error}", "FailedPrepareDynamicResources"
            ) from None

    # --- while it runs ---

    async def extras(self, pod: Obj, spec: Spec) -> Extras:
        """Return what a container gets that is about to be made; tell plugins that want to know.

        Raises:
            StartRefusedError: it cannot have that now.

        """
        uid = uid_of(pod)
        await self.devices.pre_start(pod, spec.name)
        found = self.devices.extras(uid, spec.name)
        try:
            if devices := self.claims.cdi_devices(pod, spec.container):
                found = found.plus(Extras(cdi_devices=devices))
        except ClaimError as error:
            raise StartRefusedError("CreateContainerConfigError", str(error)) from None
        if places := self._places(uid, spec.name):
            found = found.plus(Extras(resources=places))
        return await self._resolved(found) if self._resolve_cdi and found.cdi_devices else found

    async def _resolved(self, extras: Extras) -> Extras:
        """Return what CDI devices mean, for a runtime that does not know them."""
        specs = await asyncio.to_thread(cdi.read)
        try:
            meant = cdi.extras_of(extras.cdi_devices, specs)
        except cdi.CdiError as error:
            raise StartRefusedError("CreateContainerError", str(error)) from None
        return replace(extras, cdi_devices=()).plus(meant)

    def _places(self, uid: str, container: str) -> dict[str, str | int]:
        cpus, memory = self.topology.cpus, self.topology.memory
        found: dict[str, str | int] = {}
        if cpus is not None:
            found["cpuset_cpus"] = cpuset.show(cpus.of(uid, container))
            if (uid, container) in cpus.given:
                found["cpu_quota"] = -1  # nobody else is there to be held back for
        if memory is not None and (nodes := memory.of(uid, container)) is not None:
            found["cpuset_mems"] = cpuset.show(nodes)
        return found

    def health(self, pod: Obj) -> dict[str, list[dict[str, Any]]]:
        """Return how well the devices of a pod are: by container, as the pod's status has it."""
        found = {
            spec.name: [
                {"name": name, "resources": devices}
                for told in (
                    self.devices.health(uid_of(pod), spec.name),
                    self.claims.health(pod, spec.container),
                )
                for name, devices in told
                if devices
            ]
            for spec in specs_of(pod, "containers")
            if get(spec.container, "resources")
        }
        return {name: told for name, told in found.items() if told}

    def has_own_cpus(self, uid: str) -> bool:
        """Tell whether a container of a pod has processors for itself."""
        return self.topology.cpus is not None and self.topology.cpus.is_exclusive(uid)

    def resize_refusal(self, pod: Obj) -> Failure | None:
        """Return why a pod that has a part of the machine for itself cannot be resized."""
        guaranteed = "Resize is infeasible for Guaranteed Pods alongside"
        specs = _specs(pod)
        if self.topology.cpus and any(demand.cpus(pod, one.container) for one in specs):
            return Failure("Infeasible", f"{guaranteed} CPU Manager static policy")
        if self.topology.memory and any(demand.memory(pod, one.container) for one in specs):
            return Failure("Infeasible", f"{guaranteed} Memory Manager static policy")
        return None

    def created(self, container_id: str, extras: Extras) -> None:
        """Take note of the processors that a container was made with."""
        if self.topology.cpus is not None:
            self._had[container_id] = str(extras.resources.get("cpuset_cpus", ""))
            self._moved.set()

    async def follow(
        self, running: Callable[[], Iterator[Container]], runtime: Runtime, clock: Clock
    ) -> None:
        """Keep containers off the processors of others, for ever; under the static policy only."""
        cpus = self.topology.cpus
        if cpus is None:
            raise RuntimeError("no container has processors for itself")
        self._moved.set()  # what ran before this start may have been told otherwise
        while True:
            await self._moved.wait()
            self._moved.clear()
            containers = [one for one in running() if one.state == "running"]
            self._had = {one.id: self._had.get(one.id, "") for one in containers}
            for container in containers:
                if not await self._move(cpus, container, runtime):
                    clock.call_later(RECONCILE_SECONDS, self._moved.set)

    async def _move(self, cpus: StaticCpus, container: Container, runtime: Runtime) -> bool:
        labels = container.labels
        wanted = cpuset.show(cpus.of(labels.get(POD_UID, ""), labels.get(CONTAINER_NAME, "")))
        if self._had.get(container.id) == wanted or not wanted:
            return True
        try:
            await runtime.update_resources(container.id, {"cpuset_cpus": wanted})
        except CriNotFoundError:
            return True
        except CriError as error:
            log.warning("processors not changed container=%s error=%s", container.name, error)
            return False
        self._had[container.id] = wanted
        return True

    # --- when it has ended ---

    async def release(self, uid: str) -> None:
        """Take back what a pod had; raises SyncError where a driver does not, yet."""
        try:
            await self.claims.unprepare(uid)
        except ClaimError as error:
            raise SyncError(str(error)) from None
        async with self._lock:
            await self._release(uid)

    async def _release(self, uid: str) -> None:
        await self.devices.release(uid)
        cpus, memory = self.topology.cpus, self.topology.memory
        released = [part.release(uid) for part in (cpus, memory) if part]
        if any(released):
            await self._save()

    async def _save(self) -> None:
        for part in (self.topology.cpus, self.topology.memory):
            if part is not None:
                await part.save()
        self._moved.set()

    def holders(self) -> set[str]:
        """Return the pods that have something."""
        parts = (self.devices, self.topology.cpus, self.topology.memory)
        return set[str]().union(*(part.pods() for part in parts if part is not None))

    async def release_gone(self, is_known: Callable[[str], bool]) -> None:
        """Take back what pods had of which nothing is left."""
        for uid in self.holders():
            if not is_known(uid):
                async with self._lock:
                    await self._release(uid)


def _specs(pod: Obj) -> list[Spec]:
    """Return the containers in the order in which they are given something."""
    return [*specs_of(pod, "initContainers"), *specs_of(pod, "containers")]
