"""The options about processors, memory and topology: names, defaults, texts are upstream's.

By default nothing is given exclusively, and then nothing is read of the machine and no file kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.agent.kubelet.assignments import NO_TOPOLOGY, TopologySettings
from minikube_py.agent.kubelet.topology import cpus, cpuset, memory
from minikube_py.agent.kubelet.topology.cpu_assignment import Placing, take
from minikube_py.agent.kubelet.topology.cpus import CpuOptions, StaticCpus
from minikube_py.agent.kubelet.topology.errors import AdmissionError
from minikube_py.agent.kubelet.topology.hints import MAX_NUMA_NODES, Policy
from minikube_py.agent.kubelet.topology.machine import SYSTEM, Topology, read
from minikube_py.agent.kubelet.topology.memory import StaticMemory
from minikube_py.api import quantity
from minikube_py.api.quantity import ZERO, Quantity

CPU_POLICIES = ("none", "static")
MEMORY_POLICIES = ("None", "Static")
TOPOLOGY_POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
SCOPES = ("container", "pod")
CPU_OPTIONS = (
    "full-pcpus-only",
    "distribute-cpus-across-numa",
    "prefer-align-cpus-by-uncorecache",
    "strict-cpu-reservation",
)
ALPHA_CPU_OPTIONS = ("align-by-socket", "distribute-cpus-across-cores")
TOPOLOGY_OPTIONS = ("prefer-closest-numa-nodes", "max-allowable-numa-nodes")


@dataclass(frozen=True, kw_only=True)
class TopologyOptions:
    """What a node is told."""

    cpu_policy: str = "none"
    cpu_options: Mapping[str, str] = field(default_factory=dict)
    reserved_cpus: str = ""
    """Processors that are kept for the machine."""
    memory_policy: str = "None"
    reserved_memory: Mapping[int, Mapping[str, Quantity]] = field(default_factory=dict)
    """By NUMA node."""
    policy: str = "none"
    scope: str = "container"
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for what does not exist."""
        for value, known, what in (
            (self.cpu_policy, CPU_POLICIES, "unknown CPU manager policy"),
            (self.memory_policy, MEMORY_POLICIES, "unknown memory manager policy"),
            (self.policy, TOPOLOGY_POLICIES, "unknown topology manager policy"),
            (self.scope, SCOPES, "unknown scope"),
        ):
            if value not in known:
                raise ValueError(f'{what}: "{value}"')
        for name in self.cpu_options:
            if name in ALPHA_CPU_OPTIONS:
                raise ValueError(
                    "CPU Manager Policy Alpha-level Options not enabled,"
                    f' but option "{name}" provided'
                )
            if name not in CPU_OPTIONS:
                raise ValueError(f'unknown CPU Manager Policy option: "{name}"')
        for name in self.options:
            if name not in TOPOLOGY_OPTIONS:
                raise ValueError(f'unknown Topology Manager Policy option: "{name}"')

    @property
    def is_default(self) -> bool:
        """Whether nothing needs to know the machine."""
        return (self.cpu_policy, self.memory_policy, self.policy) == ("none", "None", "none")


def pairs(text: str) -> dict[str, str]:
    """Parse `name=value,name=value`; raises ValueError."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} is not name=value")
        found[name.strip()] = value.strip()
    return found


def parse_reserved_memory(texts: tuple[str, ...]) -> dict[int, dict[str, Quantity]]:
    """Parse `0:memory=1Gi,hugepages-2Mi=100Mi`, each for a NUMA node; raises ValueError."""
    found: dict[int, dict[str, Quantity]] = {}
    for text in texts:
        for part in filter(None, text.split(";")):
            node, colon, listed = part.partition(":")
            if not colon or int(node) in found:
                raise ValueError(f"{part!r} is not node:type=size, or a node is named twice")
            sizes = {kind: quantity.parse(size) for kind, size in pairs(listed).items()}
            found[int(node)] = sizes
    return found


def settings(
    options: TopologyOptions, reserved: Mapping[str, Quantity], root: Path, system: Path = SYSTEM
) -> TopologySettings:
    """Return how this machine is given to containers; `reserved` is what pods do not get of it.

    Raises:
        ValueError: the options do not suit the machine or each other.
        StartError: what was given before does not suit them.

    """
    _check_files(options, root)
    if options.is_default:
        return NO_TOPOLOGY
    machine = read(system)
    limit = int(options.options.get("max-allowable-numa-nodes", MAX_NUMA_NODES))
    if options.policy != "none" and len(machine.nodes) > limit:
        raise ValueError(f"unsupported on machines with more than {limit} NUMA Nodes")
    closest = options.options.get("prefer-closest-numa-nodes") == "true"
    return TopologySettings(
        machine=machine,
        policy=Policy(name=options.policy, scope=options.scope, prefer_closest=closest),
        cpus=_cpus(options, reserved, machine, root),
        memory=_memory(options, reserved, machine, root),
    )


def _check_files(options: TopologyOptions, root: Path) -> None:
    """See that nothing was given by a policy that does not hold any more."""
    for policy, default, kept, what in (
        (options.cpu_policy, "none", cpus, "CPU"),
        (options.memory_policy, "None", memory, "memory"),
    ):
        file = root / kept.FILE
        if policy == default and file.exists():
            raise ValueError(
                f'configured policy "{policy}" differs from state checkpoint policy'
                f' "{kept.POLICY}", please drain this node and delete the {what} manager'
                f' checkpoint file "{file}" before restarting Kubelet'
            )


def _cpus(
    options: TopologyOptions, reserved: Mapping[str, Quantity], machine: Topology, root: Path
) -> StaticCpus | None:
    if options.cpu_policy == "none":
        return None
    named = options.cpu_options
    placing = Placing(
        distribute=named.get("distribute-cpus-across-numa") == "true",
        whole_cores=named.get("full-pcpus-only") == "true",
        align_cache=named.get("prefer-align-cpus-by-uncorecache") == "true",
    )
    strict = named.get("strict-cpu-reservation") == "true"
    made = CpuOptions(placing=placing, strict_reservation=strict)
    return StaticCpus(machine, _reserved_cpus(options, reserved, machine), made, root)


def _reserved_cpus(
    options: TopologyOptions, reserved: Mapping[str, Quantity], machine: Topology
) -> cpuset.Cpus:
    if options.reserved_cpus:
        named = cpuset.parse(options.reserved_cpus)
        if not named <= machine.all_cpus:
            raise ValueError(
                f"reserved CPUs {options.reserved_cpus} are not all of this machine's,"
                f" which are {cpuset.show(machine.all_cpus)}"
            )
        return named
    count = reserved.get("cpu", ZERO).value()  # rounded up
    if count <= 0:
        raise ValueError(
            "[cpumanager] the static policy requires systemreserved.cpu + kubereserved.cpu"
            " to be greater than zero"
        )
    try:
        return take(machine, machine.all_cpus, count)
    except AdmissionError as error:
        raise ValueError(str(error)) from None


def _memory(
    options: TopologyOptions, reserved: Mapping[str, Quantity], machine: Topology, root: Path
) -> StaticMemory | None:
    if options.memory_policy == "None":
        return None
    total: dict[str, int] = {}
    for kind, size in _all_sizes(options):
        total[kind] = total.get(kind, 0) + size
    wanted = {
        kind: amount.value()
        for kind, amount in reserved.items()
        if amount and (kind == "memory" or kind.startswith("hugepages-"))
    }
    for kind in sorted(total.keys() | wanted.keys()):
        if total.get(kind, 0) != wanted.get(kind, 0):
            raise ValueError(
                f'the total amount "{total.get(kind, 0)}" of type "{kind}" is not equal to the'
                f' value "{wanted.get(kind, 0)}" determined by Node Allocatable feature'
            )
    sizes = {
        node: {kind: amount.value() for kind, amount in kinds.items()}
        for node, kinds in options.reserved_memory.items()
    }
    return StaticMemory(machine, sizes, root)


def _all_sizes(options: TopologyOptions) -> Iterator[tuple[str, int]]:
    for kinds in options.reserved_memory.values():
        yield from ((kind, amount.value()) for kind, amount in kinds.items())
