"""The options of a node, given to `kpy agent` and, on a single node, to `kpy server`."""

from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent.kubelet.eviction.thresholds import DEFAULT_HARD
from minikube_py.lib.options import option


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """What a node is told."""

    node_name: str = option("", "name of the node (default: the host's name)")
    node_ip: str = option("", "address of the node (default: that of the default route)")
    node_label: tuple[str, ...] = option((), "key=value label for the node at registration")
    node_taint: tuple[str, ...] = option((), "key=value:effect taint for the node at registration")
    container_runtime_endpoint: str = option("", "CRI socket (default: run containerd)")
    pod_manifest_path: str = option(
        "", "folder of static pods (default: agent/pod-manifests in the data folder)"
    )
    manifest_url: str = option("", "URL of static pods, asked every 20 seconds")
    manifest_url_header: tuple[str, ...] = option((), "name:value sent with it", secret=True)
    eviction_hard: str = option(DEFAULT_HARD, "what a node has left, or a pod is ended at once")
    eviction_soft: str = option("", "the same, after --eviction-soft-grace-period")
    eviction_soft_grace_period: str = option(
        "", "how long less may be left, as memory.available=1m30s"
    )
    eviction_minimum_reclaim: str = option(
        "", "how much more is to be won back, as nodefs.available=1Gi"
    )
    eviction_pressure_transition_period: str = option(
        "5m0s", "how long a node says that it is short after it was"
    )
    eviction_max_pod_grace_period: int = option(
        0, "longest grace period, in seconds, of pods that a soft threshold ends"
    )
    kube_reserved: str = option("", "kept from pods for the kubelet, as cpu=100m,memory=1Gi")
    system_reserved: str = option("", "kept from pods for the system, in the same form")
    enforce_node_allocatable: tuple[str, ...] = option(
        ("pods",), "pods: hold all pods together to what they may have; or none"
    )
    reserved_cpus: str = option("", "processors kept for the machine, as 0-1,4")
    cpu_manager_policy: str = option("none", "none, or static: whole processors for containers")
    cpu_manager_policy_options: str = option("", "such as full-pcpus-only=true")
    memory_manager_policy: str = option("None", "None, or Static: memory of certain NUMA nodes")
    reserved_memory: tuple[str, ...] = option(
        (), "kept from pods by NUMA node, as 0:memory=1Gi,hugepages-2Mi=100Mi", whole=True
    )
    topology_manager_policy: str = option(
        "none", "none, best-effort, restricted or single-numa-node"
    )
    topology_manager_scope: str = option("container", "what is placed as a whole: container or pod")
    topology_manager_policy_options: str = option("", "such as prefer-closest-numa-nodes=true")
    max_pods: int = option(110, "pods that the node may have")
    container_log_max_size: str = option("10Mi", "size at which a container's log is put aside")
    container_log_max_files: int = option(5, "logs that are kept of a container")
    max_parallel_image_pulls: int = option(4, "images that are pulled at the same time")
    kubelet_config: str = option(
        "", "KubeletConfiguration file, for what no option of kpy says otherwise"
    )
    kubelet_config_dir: str = option("", "folder of .conf files that are merged over it by name")
    image_gc_high_threshold: int = option(85, "percent of the disk from which images are removed")
    image_gc_low_threshold: int = option(80, "percent of the disk down to which they are removed")
    minimum_image_ttl_duration: str = option("2m0s", "how long an unused image stays at least")
    allowed_unsafe_sysctls: tuple[str, ...] = option(
        (), "sysctl that pods may set beside the safe ones, or net.core.* for many"
    )
    fail_swap_on: bool = option(False, "do not run while the machine has swap")
    memory_swap_behavior: str = option(
        "", "who may use the machine's swap: NoSwap or LimitedSwap (default: NoSwap)"
    )
    image_pull_credentials_verification_policy: str = option(
        "NeverVerifyPreloadedImages",
        "whether pods must prove that they could pull an image that is here: NeverVerify,"
        " NeverVerifyPreloadedImages or AlwaysVerify",
    )
    shutdown_grace_period: str = option(
        "0s", "how long pods may take to end when the machine goes down"
    )
    shutdown_grace_period_critical_pods: str = option(
        "0s", "how much of it is kept for critical pods, which end last"
    )
    shutdown_grace_period_by_pod_priority: tuple[str, ...] = option(
        (), "the same as priority=duration, for pods from that priority on"
    )
    private_registry: Path = option(
        Path("/etc/kpy/registries.yaml"), "mirrors of and credentials for registries of images"
    )
    proxy_mode: str = option(
        "nftables", "how services are reached: nftables, iptables, or userspace by kpy itself"
    )
    localhost_node_ports: bool = option(
        True, "node ports also under 127.0.0.1 (IPv4; userspace mode has them anyway)"
    )
    pause_image: str = option("kpy.local/pause:1", "image of the pod sandbox")


@dataclass(frozen=True, kw_only=True)
class AgentConfig(NodeConfig):
    """The options of `kpy agent`."""

    server: str = option("", "URL of the server to join")
    token: str = option("", "secret that the server shows or has been given", secret=True)
    data_dir: Path = option(Path("/var/lib/kpy"), "folder that holds all state")


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What a control plane is told of nodes that are only simulated."""

    simulate_nodes: int = option(0, "nodes to simulate: their pods seem to run, without containers")
    simulate_config: str = option("", "YAML file that says how simulated nodes and pods behave")
