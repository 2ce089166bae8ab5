"""Which processors are taken for a container, by how the machine is built. Pure.

*Packed* takes whole NUMA nodes or sockets, then whole cores, then single threads, always of the
part that has the fewest left, so that what stays free stays in one piece. *Distributed* spreads
evenly over as few NUMA nodes as can be. The rules are those of upstream's cpu_assignment.go.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import pstdev

from minikube_py.agent.kubelet.topology.cpuset import Cpus
from minikube_py.agent.kubelet.topology.errors import AdmissionError
from minikube_py.agent.kubelet.topology.machine import Topology

Part = Callable[[int], int]
"""Returns the part of the machine that a processor belongs to."""


@dataclass(frozen=True)
class Placing:
    """How processors are to be chosen."""

    distribute: bool = False
    """The option distribute-cpus-across-numa."""
    whole_cores: bool = False
    """The option full-pcpus-only."""
    align_cache: bool = False
    """The option prefer-align-cpus-by-uncorecache."""


class _Taking:
    """Processors that are taken one group after the other."""

    def __init__(self, machine: Topology, available: Cpus, count: int) -> None:
        self.machine = machine
        self.free = set(available)
        self.taken: set[int] = set()
        self.missing = count

    def take(self, cpus: Iterable[int]) -> None:
        """Take processors."""
        chosen = set(cpus)
        self.free -= chosen
        self.taken |= chosen
        self.missing -= len(chosen)

    def parts(self, part: Part, within: Iterable[int] | None = None) -> dict[int, list[int]]:
        """Return the free processors by part, the parts with the fewest first."""
        found: dict[int, list[int]] = {}
        for cpu in sorted(self.free if within is None else within):
            found.setdefault(part(cpu), []).append(cpu)
        return dict(sorted(found.items(), key=lambda one: (len(one[1]), one[0])))

    def nested(self, *parts: Part) -> Iterator[list[int]]:
        """Yield the free processors of the innermost parts, in the order of those around them."""
        yield from self._nested(self.free, parts)

    def _nested(self, within: Iterable[int], parts: Sequence[Part]) -> Iterator[list[int]]:
        first, *rest = parts
        for cpus in self.parts(first, within).values():
            if rest:
                yield from self._nested(cpus, rest)
            else:
                yield cpus

    def take_whole(self, part: Part, *around: Part) -> None:
        """Take parts of which every processor is free, as long as they are not too big."""
        sizes: dict[int, int] = {}
        for cpu in self.machine.cpus:
            sizes[part(cpu)] = sizes.get(part(cpu), 0) + 1
        for cpus in list(self.nested(*around, part)):
            if len(cpus) == sizes[part(cpus[0])] and self.missing >= len(cpus):
                self.take(cpus)

    def take_cache(self, cache: Part, core: Part) -> None:
        """Take whole caches, then whole cores of a single one where that is enough."""
        self.take_whole(cache)
        if not self.missing:
            return
        cores = -(-self.missing // self.machine.cpus_per_core)
        for within in self.parts(cache).values():
            chosen = [
                cpu for cpus in list(self.parts(core, within).values())[:cores] for cpu in cpus
            ]
            if len(chosen) == self.missing:
                self.take(chosen)
                return


def take(machine: Topology, available: Cpus, count: int, placing: Placing = Placing()) -> Cpus:
    """Return so many of the available processors; raises AdmissionError where there are fewer."""
    if placing.distribute:
        return _distributed(machine, available, count, placing)
    return _packed(machine, available, count, placing)


def _check(available: Cpus, count: int) -> None:
    if count > len(available):
        raise AdmissionError(
            "not enough cpus available to satisfy request:"
            f" requested={count}, available={len(available)}"
        )


def _packed(machine: Topology, available: Cpus, count: int, placing: Placing) -> Cpus:
    _check(available, count)
    taking = _Taking(machine, available, count)
    cpus = machine.cpus

    def node(cpu: int) -> int:
        return cpus[cpu].node

    def socket(cpu: int) -> int:
        return cpus[cpu].socket

    def core(cpu: int) -> int:
        return cpus[cpu].core

    sockets, nodes = len({one.socket for one in cpus.values()}), len(machine.nodes)
    # The bigger parts are around the smaller ones: a socket may hold several NUMA nodes.
    outer, inner = (node, socket) if sockets >= nodes else (socket, node)
    taking.take_whole(outer)
    taking.take_whole(inner, outer)
    if placing.align_cache:
        taking.take_cache(lambda cpu: cpus[cpu].cache, core)
    taking.take_whole(core, outer, inner)
    rest = [cpu for some in taking.nested(outer, inner, core) for cpu in some]
    taking.take(rest[: taking.missing])
    return frozenset(taking.taken)


def _distributed(machine: Topology, available: Cpus, count: int, placing: Placing) -> Cpus:
    _check(available, count)
    group = machine.cpus_per_core if placing.whole_cores else 1
    chosen = None if count % group or not count else _spread(machine, available, count, group)
    if chosen is None:
        return _packed(machine, available, count, placing)
    left, found = set(available), set[int]()
    for node, share in chosen:
        here = frozenset(left & machine.in_nodes((node,)))
        some = _packed(machine, here, share, placing)
        left -= some
        found |= some
    return frozenset(found)


def _spread(
    machine: Topology, available: Cpus, count: int, group: int
) -> list[tuple[int, int]] | None:
    """Return how many processors come of which node, or None where they cannot be spread."""
    free = {node: len(available & machine.in_nodes((node,))) for node in machine.nodes}
    nodes = sorted((node for node in free if free[node]), key=lambda node: (free[node], node))
    for size in range(1, len(nodes) + 1):
        best: tuple[float, dict[int, int]] | None = None
        for some in combinations(nodes, size):
            for shares in _shares(free, some, count, group):
                left = [free[node] - shares.get(node, 0) for node in free]
                balance = pstdev(left)
                if best is None or balance < best[0]:
                    best = (balance, shares)
        if best is not None:
            return list(best[1].items())
    return None


def _shares(
    free: dict[int, int], nodes: Sequence[int], count: int, group: int
) -> Iterator[dict[int, int]]:
    """Yield the ways to spread over all of some nodes: evenly, what is left in whole groups."""
    even = count // len(nodes) // group * group
    rest = count - even * len(nodes)
    groups = sum(free[node] // group for node in nodes)
    if groups * group < count or any(free[node] < even for node in nodes):
        return
    if not rest:
        yield dict.fromkeys(nodes, even)
        return
    able = [node for node in nodes if free[node] - even >= group]
    for some in combinations(able, min(rest // group, len(able))):
        shares = dict.fromkeys(nodes, even)
        left = rest
        while left and (open_ := [node for node in some if free[node] - shares[node] >= group]):
            for node in open_[: left // group]:
                shares[node] += group
                left -= group
        if not left:
            yield shares
