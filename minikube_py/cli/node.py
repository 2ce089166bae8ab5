"""What the parts of a node have to know of its cluster, beside a control plane as elsewhere."""

from pathlib import Path

from minikube_py.agent.app import ClusterInfo
from minikube_py.agent.join import Membership
from minikube_py.agent.uplink import Uplink


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
        dns_stub_domains=facts.dns_stub_domains,
        uplink=uplink,
        network_backend=facts.network_backend,
        ingress=facts.ingress,
        cloud_provider=facts.cloud_provider,
    )
