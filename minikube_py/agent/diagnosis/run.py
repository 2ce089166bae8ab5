"""Walks from this node: asks the API server what there is, makes a pod's network, and goes."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from minikube_py.agent.diagnosis.pod import Inside, PluginError, pod_network
from minikube_py.agent.diagnosis.walk import Cluster, Hop, walk
from minikube_py.agent.join import ClusterFacts, Membership
from minikube_py.agent.network import kernel, links, routes
from minikube_py.agent.uplink import Uplink
from minikube_py.api.core import NODES
from minikube_py.api.errors import StatusError
from minikube_py.lib import pki
from minikube_py.lib.errors import StartError
from minikube_py.lib.net import nth_address

NO_API = (
    "the server is down, or the network to it",
    "look at kpy on the server; `kpy check network` there",
)
NO_NETWORK = (
    "the node has no network of pods yet: kpy is not running, or the cluster gave it no podCIDR",
    "start kpy on this node; `kubectl get node -o yaml` shows spec.podCIDR",
)


def member_of(data_dir: Path) -> Membership:
    """Return what this node was given when it joined.

    Raises:
        StartError: it never did.

    """
    folder = data_dir / "agent" / "tls"
    try:
        facts = ClusterFacts.of(json.loads((folder / "cluster.json").read_bytes()))
        (host, port), *_ = json.loads((data_dir / "agent" / "servers.json").read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise StartError(
            f"{data_dir} is not that of a node: {error}; pass --data-dir, or start kpy first"
        ) from error
    certificate = pki.load_certificate(folder / "kubelet-client.crt")
    name = pki.common_name(certificate).removeprefix("system:node:") if certificate else ""
    place = f"[{host}]" if ":" in host else host
    return Membership(
        node_name=name, addresses=(), server=f"https://{place}:{port}", folder=folder, facts=facts
    )


def check(data_dir: Path) -> Iterator[Hop]:
    """Yield the hops from this node, as far as they are gone."""
    member = member_of(data_dir)
    peers, trouble = asyncio.run(_peers(Uplink(member, data_dir / "agent")))
    if trouble:
        yield Hop("node -> API server", "FAIL", f"{member.server}: {trouble}", *NO_API)
    else:
        yield Hop("node -> API server", "ok", f"{member.server}, {len(peers)} nodes")
    try:
        with pod_network(data_dir / "agent" / "cni" / "net.d") as inside:
            yield Hop("pod network", "ok", member.facts.network_backend)
            yield from walk(_cluster(member, peers, inside), _asker(inside))
    except PluginError as error:
        yield Hop("pod network", "FAIL", str(error), *NO_NETWORK)


async def _peers(uplink: Uplink) -> tuple[list[routes.Peer], str]:
    client = uplink.proxy()
    try:
        found = await client.list(NODES)
    except StatusError as error:
        return [], str(error)
    finally:
        await client.close()
    return [routes.peer_of(item.obj) for item in found.items], ""


def _cluster(member: Membership, peers: list[routes.Peer], inside: Inside) -> Cluster:
    facts = member.facts
    return Cluster(
        own=member.node_name,
        backend=facts.network_backend,
        mtu=inside.run(lambda: kernel.mtu_of("eth0")),
        service=nth_address(facts.service_cidr.split(",")[0], 1),
        dns=[ip for ip in facts.cluster_dns.split(",") if ip and facts.dns],
        domain=facts.cluster_domain,
        own_cidrs=inside.cidrs,
        peers=peers,
        routed=frozenset(route.cidr for route in links.read().routes),
    )


def _asker(inside: Inside) -> Callable[[Callable[[], str]], str]:
    return lambda probe: str(inside.run(probe))
