"""The composition root of a node: which parts there are, and the order of their start and end.

    containerd -> images -> kubelet (the node registers) -> pod network -> node is ready
                            beside it: the kubelet's server, kube-proxy, cluster DNS

The network of pods needs the node's podCIDR, which the cluster gives after registration; until
then the node says that it is not ready. At the end everything of kpy stops and the pods live on.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.agent.config import NodeConfig
from minikube_py.agent.containerd import ContainerdConfig
from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.dns.run import DnsConfig, run_dns
from minikube_py.agent.ingress.metrics import Counts
from minikube_py.agent.ingress.run import IngressSettings, run_ingress
from minikube_py.agent.kept import Kept
from minikube_py.agent.kubelet.access import Access
from minikube_py.agent.kubelet.configz import configuration
from minikube_py.agent.kubelet.kubelet import Kubelet, KubeletConfig
from minikube_py.agent.kubelet.machine import machine_facts
from minikube_py.agent.kubelet.node_object import NodeFacts, parse_label, parse_taint
from minikube_py.agent.kubelet.server import PORT, KubeletServer, server_ssl, serving
from minikube_py.agent.kubelet.server_host import Host
from minikube_py.agent.kubelet.server_stats import StatsPages
from minikube_py.agent.kubelet.static.run import StaticConfig
from minikube_py.agent.kubelet.stats.cadvisor import Machine
from minikube_py.agent.kubelet.sysctls import allowed
from minikube_py.agent.kubelet.user_namespaces import given_range
from minikube_py.agent.kubelet_configuration import configured
from minikube_py.agent.local_storage import LocalStorage
from minikube_py.agent.network import wireguard
from minikube_py.agent.network.addresses import detect_node_ip
from minikube_py.agent.network.announce import run_announcements
from minikube_py.agent.network.cni import FOREIGN_BIN, FOREIGN_CONF, find_plugins
from minikube_py.agent.network.moves import moved
from minikube_py.agent.network.run import NetworkConfig, run_network
from minikube_py.agent.nft import require_nft
from minikube_py.agent.policies import check_node, log_limits, pressure_policy, shutdown_policy
from minikube_py.agent.policy.gate import Gate
from minikube_py.agent.policy.run import PolicySettings, run_network_policies
from minikube_py.agent.policy.run import remove_rules as remove_policy_rules
from minikube_py.agent.proxy.chains import IPV4, IPV6
from minikube_py.agent.proxy.conntrack import require_conntrack
from minikube_py.agent.proxy.iptables_run import require_iptables
from minikube_py.agent.proxy.run import MODES, ProxySettings, run_proxy
from minikube_py.agent.registries import RegistriesFile
from minikube_py.agent.runtime import OwnRuntime, foreign, own
from minikube_py.agent.shares import reserved_of, topology_of, topology_options
from minikube_py.agent.tunnel import follow_servers, run_tunnels
from minikube_py.agent.uplink import Uplink
from minikube_py.api import names
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib import memory
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.lib.tls import ReloadingContext, follow

log = logging.getLogger(__name__)
Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """A node's options after all defaults; made by `settle`."""

    name: str
    ips: tuple[str, ...]
    data_dir: Path
    config: NodeConfig
    logs: Path = Path("/var/log/pods")
    kubelet_port: int = PORT

    @property
    def folder(self) -> Path:
        """Holds all that the node keeps."""
        return self.data_dir / "agent"

    @property
    def storage(self) -> Path:
        """Holds the persistent volumes on this node's disk."""
        return self.data_dir / "storage"


@dataclass(frozen=True, kw_only=True)
class ClusterInfo:
    """What a node has to know of its cluster."""

    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    """Addresses of the cluster's DNS, with commas between."""
    cluster_domain: str
    serving_certificate: Path
    """Of the kubelet's server."""
    serving_key: Path
    client_ca: Path
    """Checks the certificates of those who call the kubelet."""
    kube_proxy: bool = True
    network_policy: bool = True
    dns: bool = True
    """Whether nodes answer on `cluster_dns` themselves."""
    dns_stub_domains: Sequence[str] = ()
    """`DOMAIN=ADDRESS[:PORT]` of the servers that know the names of a domain."""
    uplink: Uplink | None = None
    """How the servers are reached; None beside one."""
    network_backend: str = "vxlan"
    """How nodes reach each other's pods: one of `network.routes.BACKENDS`."""
    ingress: bool = True
    """Whether nodes serve ingresses of class `kpy`."""
    certify: Callable[[NodeSettings], Coroutine[Any, Any, None]] | None = None
    """Has the node's certificates made anew where they do not name its addresses."""
    cloud_provider: str = ""
    """Who initialises the node: `local`, `external` (and gives its addresses), "" for nobody."""
    kept: Kept | None = None
    """What the node remembers for the time when no server answers; None beside one."""


def settle(config: NodeConfig, data_dir: Path) -> NodeSettings:
    """Fill in a node's name and address; asks the kernel, so it is called in a thread.

    Raises:
        StartError: an option makes no sense on this machine.

    """
    if os.geteuid() != 0:
        raise StartError("a node needs root; run as root or pass --disable-agent")
    config = configured(config)
    name = (config.node_name or socket.gethostname()).lower()
    for trouble in names.dns1123_subdomain(name):
        raise StartError(f"node name {name!r} cannot be used: {trouble}; pass --node-name")
    given = config.node_ip or detect_node_ip()
    try:
        ips = tuple(str(ipaddress.ip_address(ip.strip())) for ip in given.split(","))
        for taint in config.node_taint:
            parse_taint(taint)
    except ValueError as error:
        raise StartError(f"--node-ip or --node-taint cannot be used: {error}") from error
    try:
        reserved_of(config)
        topology_options(config)
    except ValueError as error:
        raise StartError(
            "--kube-reserved, --system-reserved, --enforce-node-allocatable, --reserved-*,"
            f" --cpu-manager-*, --memory-manager-* or --topology-manager-* cannot be used: {error}"
        ) from error
    try:
        pressure_policy(config)
    except ValueError as error:
        raise StartError(f"--eviction-* or --*-image-* cannot be used: {error}") from error
    check_node(config)
    if config.proxy_mode not in MODES:
        raise StartError(f"--proxy-mode {config.proxy_mode!r} is none of {', '.join(MODES)}")
    return NodeSettings(name=name, ips=ips, data_dir=data_dir, config=config)


async def run_agent(
    settings: NodeSettings,
    client: Client,
    cluster: ClusterInfo,
    report: Report = log.info,
    *,
    proxy_client: Client | None = None,
    clock: Clock | None = None,
) -> None:
    """Run a node until cancelled; its pods live on.

    `client` acts as the node's kubelet, `proxy_client` as system:kube-proxy. When the machine has
    another address, and nobody has given it one, all parts begin anew with that.

    Raises:
        StartError: something that the node needs is missing.

    """
    clock = clock or SystemClock()
    _require_programs(settings, cluster)
    while True:
        ip = await _run_here(settings, (client, proxy_client or client), cluster, report, clock)
        report(f"node {settings.name} has moved to {ip}")
        settings = replace(settings, ips=(ip,))


async def _run_here(
    settings: NodeSettings,
    clients: tuple[Client, Client],
    cluster: ClusterInfo,
    report: Report,
    clock: Clock,
) -> str:
    """Run a node until its machine has another address; return that."""
    client, proxy_client = clients
    make_dir(settings.folder, 0o711)
    registries = _registries(settings)
    async with _runtime(settings, cluster, report) as (connection, own_runtime):
        version = await Runtime(connection).version()
        runtime = f"{version['runtime_name']}://{version['runtime_version']}"
        gate, counts = Gate(), Counts()
        config = replace(
            _kubelet_config(settings, cluster, runtime),
            credentials=registries.credentials,
            isolate=gate.isolate,
        )
        if own_runtime is not None:
            orphans = own_runtime.containerd.orphans
            config = replace(config, remove_orphans=orphans.remove, sandbox_removed=orphans.removed)
        async with (
            Informers(client, clock) as informers,
            Informers(proxy_client, clock) as proxy_informers,
            Nursery("agent") as nursery,
        ):
            who = _Identities(client, proxy_client, proxy_informers, gate)
            kubelet = Kubelet(config, client, informers, connection, clock)
            access = Access(client, settings.name, clock)
            pages = _stats_pages(kubelet, counts).handlers()
            server = KubeletServer(Host(kubelet.runtime, kubelet.pods), access, clock, extra=pages)
            kubelet.on_exit = server.container_changed
            if cluster.certify is not None:
                nursery.start("certificates", cluster.certify(settings))
            if own_runtime is not None:
                own_runtime.start(nursery, clock)
            storage = LocalStorage(settings.storage, settings.name, client, informers, clock)
            parts: dict[str, Callable[[], object]] = {
                "kubelet": lambda: kubelet.run(report),
                "kubelet server": lambda: _serve(server, settings, cluster),
                "pod network": lambda: _run_network(settings, cluster, proxy_informers, client),
                "local storage": storage.run,
                **registries.parts(),
                **_service_parts(settings, cluster, who, counts, clock),
            }
            for name, part in parts.items():
                nursery.start(name, restarting(name, part))  # type: ignore[arg-type]
            nursery.start("readiness", _tell_ready(kubelet, report, alone=cluster.kept is not None))
            if settings.config.node_ip:
                await asyncio.Event().wait()
            return await moved(settings.ips, clock)


async def _tell_ready(kubelet: Kubelet, report: Report, *, alone: bool) -> None:
    """Tell when the node is ready; where the process is the node's `alone`, what it has lasts."""
    await kubelet.ready.wait()
    if alone:
        memory.settle()
    report(f"node {kubelet.config.node.name} is ready")


def _require_programs(settings: NodeSettings, cluster: ClusterInfo) -> None:
    """Raise StartError where a program is missing that the node's network needs."""
    require_nft()
    if cluster.kube_proxy:
        require_conntrack()
        if settings.config.proxy_mode == "iptables":
            require_iptables()
    if cluster.network_backend == "wireguard":
        wireguard.require()


def _registries(settings: NodeSettings) -> RegistriesFile:
    certs = settings.folder / "containerd" / "certs.d"
    registries = RegistriesFile(settings.config.private_registry, certs)
    registries.load()
    return registries


class _Identities(NamedTuple):
    """With whose rights a node's parts read the cluster, and where pods wait for policies."""

    node: Client
    proxy: Client
    informers: Informers
    """Of the latter."""
    gate: Gate


def _service_parts(
    settings: NodeSettings, cluster: ClusterInfo, who: _Identities, counts: Counts, clock: Clock
) -> dict[str, Callable[[], object]]:
    """Return what makes services reachable, where nobody else does that, and keeps pods apart."""
    informers = who.informers
    parts: dict[str, Callable[[], object]] = {
        "network policies": lambda: _run_policies(settings, cluster, who, clock)
    }
    if cluster.kube_proxy:
        proxy = _proxy_settings(settings, cluster)
        parts["kube-proxy"] = lambda: run_proxy(informers, proxy, clock)
        parts["announcements"] = lambda: run_announcements(
            informers, settings.name, settings.ips[0], clock
        )
    if (uplink := cluster.uplink) is not None:
        parts["servers"] = lambda: follow_servers(informers, uplink.servers)
        parts["tunnels"] = lambda: run_tunnels(uplink, settings.ips, cluster.cluster_cidr, clock)
    if cluster.dns:
        parts["cluster DNS"] = lambda: run_dns(informers, _dns_config(cluster))
    if cluster.ingress:
        ingress = IngressSettings(node_name=settings.name)
        parts["ingress"] = lambda: run_ingress(informers, who.node, ingress, counts, clock)
    return parts


def _runtime(
    settings: NodeSettings, cluster: ClusterInfo, report: Report
) -> contextlib.AbstractAsyncContextManager[tuple[Connection, OwnRuntime | None]]:
    """Have a container runtime for the length of a block."""
    if endpoint := settings.config.container_runtime_endpoint:
        return foreign(endpoint)
    is_foreign = cluster.network_backend == "none"
    config = ContainerdConfig(
        folder=settings.folder / "containerd",
        pause_image=settings.config.pause_image,
        cni_conf_dir=FOREIGN_CONF if is_foreign else settings.folder / "cni" / "net.d",
        cni_bin_dir=FOREIGN_BIN if is_foreign else find_plugins(),
    )
    return own(config, settings.folder / "images", report)


def _kubelet_config(settings: NodeSettings, cluster: ClusterInfo, runtime: str) -> KubeletConfig:
    root = make_dir(settings.folder / "kubelet", 0o711)
    reserved = reserved_of(settings.config)
    node = NodeFacts(
        name=settings.name,
        hostname=settings.name,
        ips=settings.ips,
        machine=replace(machine_facts(root, reserved), pods=settings.config.max_pods),
        runtime_version=runtime,
        labels=dict(parse_label(text) for text in settings.config.node_label),
        taints=[parse_taint(text) for text in settings.config.node_taint],
        kubelet_port=settings.kubelet_port,
        cloud_provider=cluster.cloud_provider,
        given_ips=settings.config.node_ip,
    )
    config = KubeletConfig(
        node=node,
        root=root,
        static=_static_config(settings),
        storage=settings.storage,
        logs=settings.logs,
        cluster_dns=[ip for ip in cluster.cluster_dns.split(",") if ip],
        cluster_domain=cluster.cluster_domain,
        pressure=pressure_policy(settings.config),
        image_verification=settings.config.image_pull_credentials_verification_policy,
        shutdown=shutdown_policy(settings.config),
        log_limits=log_limits(settings.config),
        pulls_max=settings.config.max_parallel_image_pulls,
        unsafe_sysctls=allowed(settings.config.allowed_unsafe_sysctls),
        swap_behavior=settings.config.memory_swap_behavior,
        user_ids=given_range(settings.config.max_pods),
        topology=topology_of(settings.config, reserved, node.machine.memory_bytes, root),
    )
    if (kept := cluster.kept) is None:
        return config
    return replace(config, keep_only=kept.keep_only, hear=kept.pods.note)


def _stats_pages(kubelet: Kubelet, counts: Counts) -> StatsPages:
    config = kubelet.config
    machine = config.node.machine
    return StatsPages(
        provider=kubelet.stats,
        machine=Machine(
            cpus=machine.cpus,
            memory_bytes=machine.memory_bytes,
            boot_id=machine.boot_id,
            machine_id=machine.machine_id,
            system_uuid=machine.system_uuid,
        ),
        node_name=config.node.name,
        probes=kubelet.probe_metrics,
        ingress=counts.lines,
        counts=kubelet.tallies.lines,
        configuration=lambda: configuration(config),
    )


def _static_config(settings: NodeSettings) -> StaticConfig:
    given = settings.config.pod_manifest_path
    folder = Path(given) if given else settings.folder / "pod-manifests"
    headers = (text.partition(":") for text in settings.config.manifest_url_header)
    return StaticConfig(
        folder=make_dir(folder),
        url=settings.config.manifest_url,
        headers={name.strip(): value.strip() for name, _, value in headers},
    )


async def _run_network(
    settings: NodeSettings, cluster: ClusterInfo, informers: Informers, client: Client
) -> None:
    """Keep the network of the node's pods, for ever."""
    config = NetworkConfig(
        node_name=settings.name,
        node_ip=settings.ips[0],
        cluster_cidr=cluster.cluster_cidr,
        service_cidr=cluster.service_cidr,
        cni_conf_dir=settings.folder / "cni" / "net.d",
        cni_state_dir=settings.folder / "cni" / "state",
        backend=cluster.network_backend,
        key_dir=settings.folder,
    )
    await run_network(informers, config, client)


async def _run_policies(
    settings: NodeSettings, cluster: ClusterInfo, who: _Identities, clock: Clock
) -> None:
    """Enforce network policies, for ever; or make sure that none is enforced any more."""
    if not cluster.network_policy:
        await remove_policy_rules()
        await asyncio.Event().wait()
    cidrs = cluster.cluster_cidr.split(",")
    policies = PolicySettings(
        node_name=settings.name,
        families=sorted({IPV6 if ":" in cidr else IPV4 for cidr in cidrs}),
        dns_addresses=_dns_addresses(cluster) if cluster.dns else (),
    )
    await run_network_policies(who.proxy, who.informers, policies, clock, who.gate)


def _dns_config(cluster: ClusterInfo) -> DnsConfig:
    return DnsConfig(
        addresses=_dns_addresses(cluster),
        domain=cluster.cluster_domain,
        stub_domains=cluster.dns_stub_domains,
    )


def _dns_addresses(cluster: ClusterInfo) -> tuple[str, ...]:
    return tuple(ip for ip in cluster.cluster_dns.split(",") if ip)


def _proxy_settings(settings: NodeSettings, cluster: ClusterInfo) -> ProxySettings:
    return ProxySettings(
        node_name=settings.name,
        cluster_cidr=cluster.cluster_cidr,
        service_cidr=cluster.service_cidr,
        local_addresses=frozenset(_dns_addresses(cluster) if cluster.dns else ()),
        mode=settings.config.proxy_mode,
        localhost=settings.config.localhost_node_ports,
    )


async def _serve(server: KubeletServer, settings: NodeSettings, cluster: ClusterInfo) -> None:
    """Serve the kubelet's API for ever, with the certificate that is on disk."""
    files = (cluster.serving_certificate, cluster.serving_key, cluster.client_ca)
    context = ReloadingContext(server_ssl(*files))
    async with serving(server, "0.0.0.0", settings.kubelet_port, context):
        await follow(context, files, lambda: server_ssl(*files))
