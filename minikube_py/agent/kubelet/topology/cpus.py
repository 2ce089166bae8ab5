"""Processors of their own for containers: the static policy of upstream's CPU manager.

A container of a Guaranteed pod that asks for whole processors gets them for itself; all others
share what is left. Processors that are reserved for the machine are never given away; with
strict-cpu-reservation pods may not even share them. What was given is kept in a file, so that a
container has the same ones after a restart of the kubelet.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.topology import cpuset, demand
from minikube_py.agent.kubelet.topology.cpu_assignment import Placing, take
from minikube_py.agent.kubelet.topology.cpuset import NONE, Cpus
from minikube_py.agent.kubelet.topology.errors import SMTAlignmentError
from minikube_py.agent.kubelet.topology.hints import Hint, Hints, Nodes, mark_preferred, subsets
from minikube_py.agent.kubelet.topology.machine import Topology
from minikube_py.api.object import Obj, uid_of
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import write_atomic

FILE = "cpu_manager_state"
POLICY = "static"
Place = tuple[str, str]
"""The uid of a pod, and a container of it."""


@dataclass(frozen=True, kw_only=True)
class CpuOptions:
    """The options of the static policy."""

    placing: Placing = Placing()
    strict_reservation: bool = False


class StaticCpus:
    """Which container has which processors for itself."""

    def __init__(self, machine: Topology, reserved: Cpus, options: CpuOptions, root: Path) -> None:
        """Take the processors that are kept for the machine, and the kubelet's folder.

        Raises:
            StartError: what is kept in the file does not suit this machine.

        """
        self._machine = machine
        self._reserved = reserved
        self._options = options
        self._file = root / FILE
        self._reusable: dict[str, Cpus] = {}
        """What init containers leave to others, by pod; while a pod is admitted."""
        self._writing = asyncio.Lock()
        self._whole = machine.all_cpus - (reserved if options.strict_reservation else NONE)
        self.given: dict[Place, Cpus] = self._restore()

    # --- what there is ---

    @property
    def shared(self) -> Cpus:
        """The processors that nobody has for itself."""
        return self._whole.difference(*self.given.values())

    @property
    def allocatable(self) -> Cpus:
        """The processors that containers may have for themselves."""
        return self._whole - self._reserved

    @property
    def _free(self) -> Cpus:
        return self.shared - self._reserved

    def of(self, uid: str, container: str) -> Cpus:
        """Return the processors that a container may use."""
        return self.given.get((uid, container)) or self.shared

    def is_exclusive(self, uid: str) -> bool:
        """Tell whether a container of a pod has processors for itself."""
        return any(place[0] == uid for place in self.given)

    def pods(self) -> set[str]:
        """Return the pods that have some."""
        return {uid for uid, _ in self.given}

    # --- the topology manager's questions ---

    def hints(self, pod: Obj, spec: Spec, nodes: Sequence[int]) -> Hints:
        """Return where the processors of a container could come from."""
        count = demand.cpus(pod, spec.container)
        if not count:
            return {}
        uid = uid_of(pod)
        had = self.given.get((uid, spec.name))
        if had is not None:
            found = self._hints(had, NONE, count, nodes) if len(had) == count else []
            return {"cpu": found}
        return {"cpu": self._hints(self._free, self._reusable.get(uid, NONE), count, nodes)}

    def pod_hints(self, count: int, nodes: Sequence[int]) -> Hints:
        """Return where the processors of a whole pod could come from."""
        return {"cpu": self._hints(self._free, NONE, count, nodes)} if count else {}

    def _hints(self, free: Cpus, reusable: Cpus, count: int, nodes: Sequence[int]) -> list[Hint]:
        smallest, found = len(nodes), []
        for some in subsets(nodes):
            inside = self._machine.in_nodes(some)
            if len(inside) >= count:
                smallest = min(smallest, len(some))
            if reusable <= inside and len((free | reusable) & inside) >= count:
                found.append(some)
        return mark_preferred(found, smallest)

    # --- giving and taking back ---

    def allocate(self, pod: Obj, spec: Spec, nodes: Nodes | None) -> bool:
        """Give a container its processors; tell whether any were given.

        Raises:
            AdmissionError: there are too few, or not in whole cores.

        """
        count = demand.cpus(pod, spec.container)
        if not count:
            return False
        place = (uid_of(pod), spec.name)
        had = self.given.get(place)
        if had is None:
            self._check_cores(count)
            self.given[place] = self._choose(count, nodes, self._reusable.get(place[0], NONE))
        self._note_reusable(spec, place)
        return had is None

    def _check_cores(self, count: int) -> None:
        threads = self._machine.cpus_per_core
        if not self._options.placing.whole_cores:
            return
        if count % threads:
            raise SMTAlignmentError(
                f"requested {count} cpus not multiple cpus per core = {threads}"
            )
        available = len(self.shared - self._reserved_cores)
        if count > available:
            raise SMTAlignmentError(
                f"not enough free physical CPUs: available physical CPUs = {available},"
                f" requested CPUs = {count}, CPUs per core = {threads}"
            )

    @property
    def _reserved_cores(self) -> Cpus:
        """All processors of the cores of which one is reserved."""
        cpus = self._machine.cpus
        cores = {cpus[cpu].core for cpu in self._reserved if cpu in cpus}
        return frozenset(name for name, cpu in cpus.items() if cpu.core in cores)

    def _choose(self, count: int, nodes: Nodes | None, reusable: Cpus) -> Cpus:
        usable, placing = self._free | reusable, self._options.placing
        found = NONE
        if nodes is not None:
            near = usable & self._machine.in_nodes(nodes)
            found = take(self._machine, near, min(len(near), count), placing)
        return found | take(self._machine, usable - found, count - len(found), placing)

    def _note_reusable(self, spec: Spec, place: Place) -> None:
        left, cpus = self._reusable.get(place[0], NONE), self.given[place]
        self._reusable[place[0]] = left | cpus if spec.is_init else left - cpus

    def admitted(self, uid: str) -> None:
        """Take note that all containers of a pod have theirs."""
        self._reusable.pop(uid, None)

    def release(self, uid: str) -> bool:
        """Take back what a pod had; tell whether it had anything."""
        left = {place: cpus for place, cpus in self.given.items() if place[0] != uid}
        had, self.given = len(left) != len(self.given), left
        return had

    # --- what survives ---

    async def save(self) -> None:
        """Write down what is given."""
        async with self._writing:
            await asyncio.to_thread(write_atomic, self._file, self._text())

    def _text(self) -> bytes:
        entries: dict[str, dict[str, str]] = {}
        for (uid, container), cpus in sorted(self.given.items()):
            entries.setdefault(uid, {})[container] = cpuset.show(cpus)
        return orjson.dumps(
            {
                "policyName": POLICY,
                "defaultCpuSet": cpuset.show(self.shared),
                "entries": entries,
            }
        )

    def _restore(self) -> dict[Place, Cpus]:
        try:
            kept = orjson.loads(self._file.read_bytes())
            given = dict(_entries(kept["entries"]))
            shared = cpuset.parse(kept["defaultCpuSet"])
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise StartError(
                f"could not restore state from checkpoint: {error}, please drain this node and"
                f' delete the CPU manager checkpoint file "{self._file}" before restarting Kubelet'
            ) from error
        known = shared.union(*given.values())
        if known != self._whole:
            raise StartError(
                f'current set of available CPUs "{cpuset.show(self._whole)}" doesn\'t match with'
                f' CPUs in state "{cpuset.show(known)}"; drain this node and delete {self._file}'
            )
        return given


def _entries(listed: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[Place, Cpus]]:
    for uid, containers in listed.items():
        for name, text in containers.items():
            yield (uid, name), cpuset.parse(text)
