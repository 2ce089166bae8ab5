"""What a node is given: beside a control plane without asking, elsewhere by joining."""

from pathlib import Path

from minikube_py.agent.app import ClusterInfo, NodeSettings
from minikube_py.agent.join import ClusterFacts, Membership, save_facts
from minikube_py.agent.uplink import Uplink, servers_of
from minikube_py.lib import pki
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic
from minikube_py.server.bootstrap import Bootstrap, node_certificates
from minikube_py.server.config import ServerConfig
from minikube_py.server.join import PROXY, cluster_facts


def local_membership(
    config: ServerConfig, material: Bootstrap, node: NodeSettings, clock: Clock
) -> Membership:
    """Give the node on this machine what others get by joining, in the same files."""
    folder = make_dir(membership_folder(config.data_dir))
    now = clock.now()
    material = material.newest(now)
    node_certificates(material, folder, node.name, node.ips, now=now)
    pki.ensure_leaf(folder, "proxy-client", material.client_ca, PROXY, "client", now=now)
    for ca in (material.cluster_ca, material.client_ca):
        path = folder / ca.certificate_path.name
        if read_if_there(path) != ca.bundle_pem:
            write_atomic(path, ca.bundle_pem, 0o644)
    facts = ClusterFacts(**cluster_facts(config))
    save_facts(folder, facts)
    member = Membership(
        node_name=node.name,
        addresses=node.ips,
        server=f"https://127.0.0.1:{config.https_listen_port}",
        folder=folder,
        facts=facts,
    )
    servers_of(member, node.folder).keep()
    return member


def membership_folder(data_dir: Path) -> Path:
    """Return where a node keeps what it was given."""
    return data_dir / "agent" / "tls"


def cluster_info(member: Membership, uplink: Uplink | None = None) -> ClusterInfo:
    """Return what the node's parts have to know of the cluster; `uplink` where it is elsewhere."""
    certificate, key = member.serving
    facts = member.facts
    return ClusterInfo(
        cluster_cidr=facts.cluster_cidr,
        service_cidr=facts.service_cidr,
        cluster_dns=facts.cluster_dns,
        cluster_domain=facts.cluster_domain,
        serving_certificate=certificate,
        serving_key=key,
        client_ca=member.client_ca,
        kube_proxy=facts.kube_proxy,
        network_policy=facts.network_policy,
        dns=facts.dns,
        uplink=uplink,
        network_backend=facts.network_backend,
        ingress=facts.ingress,
        cloud_provider=facts.cloud_provider,
    )
