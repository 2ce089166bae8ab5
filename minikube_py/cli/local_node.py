"""What the node beside a control plane is given without asking."""

from minikube_py.agent.app import NodeSettings
from minikube_py.agent.join import ClusterFacts, Membership, save_facts
from minikube_py.agent.uplink import servers_of
from minikube_py.cli.node import membership_folder
from minikube_py.lib import pki
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir, write_atomic
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
        write_atomic(folder / ca.certificate_path.name, ca.bundle_pem, 0o644)
    facts = ClusterFacts.of(cluster_facts(config))
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
