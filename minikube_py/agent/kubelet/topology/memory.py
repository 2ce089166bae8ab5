"""Memory of certain NUMA nodes for containers: the static policy of upstream's memory manager.

A container of a Guaranteed pod gets all its memory and huge pages of one group of nodes. A node
that is part of a group is given in that group only, as long as anybody has something of it: so
what was promised to one group is never eaten up by another. What is given is kept in a file.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.topology import demand
from minikube_py.agent.kubelet.topology.demand import Demand
from minikube_py.agent.kubelet.topology.errors import AdmissionError
from minikube_py.agent.kubelet.topology.hints import Hint, Hints, Nodes, mark_preferred, subsets
from minikube_py.agent.kubelet.topology.machine import NumaNode, Topology
from minikube_py.api.object import Obj, uid_of
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import write_atomic

FILE = "memory_manager_state"
POLICY = "Static"
SIZES = {2 << 20: "hugepages-2Mi", 1 << 30: "hugepages-1Gi", 64 << 10: "hugepages-64Ki"}
Place = tuple[str, str]
"""The uid of a pod, and a container of it."""


class Block(NamedTuple):
    """What a container has of a kind of memory."""

    nodes: Nodes
    kind: str
    """memory, or hugepages- and their size."""
    size: int
    """Bytes."""
    is_reusable: bool
    """Whether an init container has it, which ends before the others begin."""


def room(node: NumaNode, reserved: Demand) -> dict[str, int]:
    """Return what a node can give to containers, by kind."""
    pages = {SIZES.get(size, f"hugepages-{size >> 10}Ki"): size * count
             for size, count in node.huge_pages.items() if count}  # fmt: skip
    found = {"memory": node.memory_bytes - sum(pages.values()), **pages}
    return {kind: max(size - reserved.get(kind, 0), 0) for kind, size in found.items()}


class StaticMemory:
    """Which container has memory of which nodes."""

    def __init__(self, machine: Topology, reserved: Mapping[int, Demand], root: Path) -> None:
        """Take what each node keeps for the machine, and the kubelet's folder.

        Raises:
            StartError: what is kept in the file cannot be read.

        """
        self._rooms = {
            name: room(node, reserved.get(name, {})) for name, node in machine.nodes.items()
        }
        self._file = root / FILE
        self._writing = asyncio.Lock()
        self.given: dict[Place, tuple[Block, ...]] = self._restore()

    # --- what there is ---

    @property
    def allocatable(self) -> Mapping[int, Demand]:
        """What each node can give, by kind."""
        return self._rooms

    def of(self, uid: str, container: str) -> Nodes | None:
        """Return the nodes whose memory a container may use; None for all."""
        blocks = self.given.get((uid, container))
        return frozenset[int]().union(*(block.nodes for block in blocks)) if blocks else None

    def pods(self) -> set[str]:
        """Return the pods that have some."""
        return {uid for uid, _ in self.given}

    def _blocks(self) -> Iterator[tuple[str, Block]]:
        for (uid, _), blocks in self.given.items():
            yield from ((uid, block) for block in blocks)

    def _capacity(self, nodes: Nodes, kind: str) -> int:
        return sum(self._rooms[node].get(kind, 0) for node in nodes)

    def _free(self, nodes: Nodes, kind: str, uid: str) -> int:
        """Return the bytes that are left in nodes, for a pod that may use its own again."""
        used = sum(
            block.size
            for owner, block in self._blocks()
            if block.kind == kind
            and block.nodes & nodes
            and not (owner == uid and block.is_reusable and block.nodes == nodes)
        )
        return self._capacity(nodes, kind) - used

    def _is_apart(self, nodes: Nodes, uid: str) -> bool:
        """Tell whether no node among some is given in another group already."""
        return not any(
            block.nodes & nodes and block.nodes != nodes
            for owner, block in self._blocks()
            if block.size or not (owner == uid and block.is_reusable)
        )

    # --- the topology manager's questions ---

    def hints(self, pod: Obj, spec: Spec, nodes: Sequence[int]) -> Hints:
        """Return which nodes could hold the memory of a container."""
        asked = demand.memory(pod, spec.container)
        if not asked:
            return {}
        blocks = self.given.get((uid_of(pod), spec.name))
        if blocks:
            return {block.kind: [Hint(block.nodes, preferred=True)] for block in blocks}
        found = self._hints(asked, uid_of(pod), nodes)
        return dict.fromkeys(asked, found)

    def pod_hints(self, asked: Demand, nodes: Sequence[int]) -> Hints:
        """Return which nodes could hold the memory of a whole pod."""
        return dict.fromkeys(asked, self._hints(asked, "", nodes)) if asked else {}

    def _hints(self, asked: Demand, uid: str, nodes: Sequence[int]) -> list[Hint]:
        smallest, found = len(nodes), []
        for some in subsets(nodes):
            if any(self._capacity(some, kind) < size for kind, size in asked.items()):
                continue
            smallest = min(smallest, len(some))
            enough = all(self._free(some, kind, uid) >= size for kind, size in asked.items())
            if enough and self._is_apart(some, uid):
                found.append(some)
        return mark_preferred(found, smallest)

    # --- giving and taking back ---

    def allocate(self, pod: Obj, spec: Spec, nodes: Nodes | None) -> bool:
        """Give a container its memory; tell whether any was given.

        Raises:
            AdmissionError: no group of nodes has enough.

        """
        asked, place = demand.memory(pod, spec.container), (uid_of(pod), spec.name)
        if not asked or place in self.given:
            return False
        chosen = self._choose(asked, place[0], nodes)
        for kind, size in asked.items():
            self._use_again(place[0], Block(chosen, kind, size, spec.is_init))
        self.given[place] = tuple(
            Block(chosen, kind, size, spec.is_init) for kind, size in sorted(asked.items())
        )
        return True

    def _choose(self, asked: Demand, uid: str, nodes: Nodes | None) -> Nodes:
        """Return the group to take of: where the topology manager says, more where it must be."""
        hints = self._hints(asked, uid, sorted(self._rooms))
        usable = [hint for hint in hints if nodes is None or nodes <= (hint.nodes or frozenset())]
        if not usable:
            raise AdmissionError(
                "[memorymanager] failed to get the default NUMA affinity,"
                " no NUMA nodes with enough memory is available"
                if nodes is None
                else "[memorymanager] failed to find NUMA nodes to extend the current topology hint"
            )
        best = min(usable, key=lambda hint: (not hint.preferred, len(hint.nodes or ())))
        return best.nodes or frozenset()

    def _use_again(self, uid: str, wanted: Block) -> None:
        """Take from init containers of the pod what another of its containers is given anew."""
        left = wanted.size
        for place, blocks in self.given.items():
            if place[0] != uid:
                continue
            kept = []
            for block in blocks:
                same = block.is_reusable and block[:2] == wanted[:2]
                part = min(left, block.size) if same else 0
                left -= part
                kept.append(block._replace(size=block.size - part))
            self.given[place] = tuple(kept)

    def release(self, uid: str) -> bool:
        """Take back what a pod had; tell whether it had anything."""
        left = {place: blocks for place, blocks in self.given.items() if place[0] != uid}
        had, self.given = len(left) != len(self.given), left
        return had

    # --- what survives ---

    async def save(self) -> None:
        """Write down what is given."""
        async with self._writing:
            await asyncio.to_thread(write_atomic, self._file, self._text())

    def _text(self) -> bytes:
        entries: dict[str, dict[str, Any]] = {}
        for (uid, container), blocks in sorted(self.given.items()):
            entries.setdefault(uid, {})[container] = [
                {
                    "numaAffinity": sorted(block.nodes),
                    "type": block.kind,
                    "size": block.size,
                    "reusable": block.is_reusable,
                }
                for block in blocks
            ]
        return orjson.dumps({"policyName": POLICY, "entries": entries})

    def _restore(self) -> dict[Place, tuple[Block, ...]]:
        try:
            entries = orjson.loads(self._file.read_bytes())["entries"]
            return {
                (uid, name): tuple(_block(one) for one in blocks)
                for uid, containers in entries.items()
                for name, blocks in containers.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise StartError(
                f"could not restore state from checkpoint: {error}, please drain this node and"
                f" delete the memory manager checkpoint file {self._file} before restarting Kubelet"
            ) from error


def _block(one: Mapping[str, Any]) -> Block:
    nodes = frozenset(int(node) for node in one["numaAffinity"])
    return Block(nodes, str(one["type"]), int(one["size"]), bool(one.get("reusable")))
