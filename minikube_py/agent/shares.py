"""What a node's options say of shares in its machine: kept from pods, and given to single ones."""

from pathlib import Path

from minikube_py.agent.config import NodeConfig
from minikube_py.agent.kubelet.assignments import TopologySettings
from minikube_py.agent.kubelet.eviction.thresholds import parse as parse_thresholds
from minikube_py.agent.kubelet.reserved import Reserved, parse_levels, parse_reserved
from minikube_py.agent.kubelet.topology import cpuset
from minikube_py.agent.kubelet.topology.settings import (
    TopologyOptions,
    pairs,
    parse_reserved_memory,
    settings,
)
from minikube_py.api import quantity
from minikube_py.lib.errors import StartError


def reserved_of(config: NodeConfig) -> Reserved:
    """Read what pods do not get; raises ValueError.

    Processors that are named go before amounts: as many are kept as there are names.
    """
    kube = parse_reserved(pairs(config.kube_reserved), "--kube-reserved")
    system = parse_reserved(pairs(config.system_reserved), "--system-reserved")
    if config.reserved_cpus:
        kube.pop("cpu", None)
        system["cpu"] = quantity.of(len(cpuset.parse(config.reserved_cpus)))
    return Reserved(
        kube=kube,
        system=system,
        thresholds=parse_thresholds(config.eviction_hard),
        enforced=parse_levels(config.enforce_node_allocatable),
    )


def topology_options(config: NodeConfig) -> TopologyOptions:
    """Read what is given to single containers; raises ValueError."""
    return TopologyOptions(
        cpu_policy=config.cpu_manager_policy,
        cpu_options=pairs(config.cpu_manager_policy_options),
        reserved_cpus=config.reserved_cpus,
        memory_policy=config.memory_manager_policy,
        reserved_memory=parse_reserved_memory(config.reserved_memory),
        policy=config.topology_manager_policy,
        scope=config.topology_manager_scope,
        options=pairs(config.topology_manager_policy_options),
    )


def topology_of(
    config: NodeConfig, reserved: Reserved, memory_bytes: int, root: Path
) -> TopologySettings:
    """Return how the machine is given to containers; raises StartError."""
    kinds = {"cpu", *reserved.kube, *reserved.system}
    kept = {kind: reserved.named(kind) for kind in kinds}
    threshold = quantity.of(reserved.threshold("memory", memory_bytes))
    kept["memory"] = reserved.named("memory") + threshold
    try:
        return settings(topology_options(config), kept, root)
    except ValueError as error:
        raise StartError(str(error)) from error
