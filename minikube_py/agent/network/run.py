"""Keeps a node's pod network as the Node objects say.

The node's own podCIDR makes the bridge and the CNI configuration; those of the others make
routes. Nothing is done at an event that changes neither.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent import nft
from minikube_py.agent.network import cni, kernel, masquerade, routes
from minikube_py.api.core import NODES
from minikube_py.api.item import Item
from minikube_py.api.object import Key
from minikube_py.client.informer import Informers
from minikube_py.lib.backoff import Backoff

log = logging.getLogger(__name__)
RETRY = Backoff(first_seconds=1.0, max_seconds=60.0)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What a node's network is told."""

    node_name: str
    node_ip: str
    cluster_cidr: str
    """Networks of all pods, IPv4 and IPv6 with a comma between."""
    service_cidr: str
    cni_conf_dir: Path
    cni_state_dir: Path
    bridge: str = "cni0"


class PodNetwork:
    """What has been done to this node so far, and the next steps."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._pod_cidrs: Sequence[str] = ()

    async def set_up(self, pod_cidrs: Sequence[str]) -> None:
        """Make this node ready for pods of these networks; the CNI configuration comes last."""
        if not pod_cidrs or list(pod_cidrs) == list(self._pod_cidrs):
            return
        await nft.apply(masquerade.ruleset(pod_cidrs, self._config.cluster_cidr.split(",")))
        await asyncio.to_thread(self._set_up, pod_cidrs)
        self._pod_cidrs = pod_cidrs
        log.info("pod network ready bridge=%s cidr=%s", self._config.bridge, ",".join(pod_cidrs))

    def _set_up(self, pod_cidrs: Sequence[str]) -> None:
        config = self._config
        kernel.set_switches(ipv6=any(":" in cidr for cidr in pod_cidrs))
        kernel.accept_forwarded(config.cluster_cidr.split(","))
        mtu = kernel.link_mtu_of(config.node_ip)
        kernel.ensure_bridge(config.bridge, [cni.gateway(cidr) for cidr in pod_cidrs], mtu)
        if not kernel.has_default_route():
            # What this machine sends to a service has to be routable before it is rewritten.
            for cidr in config.service_cidr.split(","):
                kernel.ensure_device_route(cidr, config.bridge)
        cni.write_config(
            config.cni_conf_dir,
            cni.BridgeNetwork(
                pod_cidrs=pod_cidrs,
                bridge=config.bridge,
                mtu=mtu,
                state_dir=config.cni_state_dir,
            ),
        )

    async def set_routes(self, wanted: routes.Routes) -> bool:
        """Route to the pods of the other nodes; return whether the kernel took all of it."""
        current = await asyncio.to_thread(kernel.gateway_routes)
        changes = list(routes.plan(wanted, current))
        refused = await asyncio.to_thread(kernel.change_routes, changes) if changes else []
        for change, why in refused:
            log.warning("route refused cidr=%s gateway=%s error=%s", *change, why)
        return not refused


async def run_network(informers: Informers, config: NetworkConfig) -> None:
    """Keep the network of this node; runs until it is cancelled.

    Raises:
        NftError: the kernel refused the rules; the caller starts this again.

    """
    nodes = informers.get(NODES)
    await nodes.wait_synced()
    network = PodNetwork(config)
    changed = asyncio.Event()
    changed.set()

    def notice(old: Item | None, new: Item | None) -> None:
        if _network_of(old) != _network_of(new):
            changed.set()

    unsubscribe = nodes.subscribe(notice)
    failures = 0
    try:
        while True:
            try:
                async with asyncio.timeout(RETRY.wait_seconds(failures) if failures else None):
                    await changed.wait()
            except TimeoutError:
                log.debug("routes tried again failures=%d", failures)
            changed.clear()
            own = nodes.get(Key("", config.node_name))
            await network.set_up(routes.pod_cidrs(own) if own is not None else ())
            wanted = routes.wanted_routes((item.obj for item in nodes.items()), config.node_name)
            failures = 0 if await network.set_routes(wanted) else failures + 1
    finally:
        unsubscribe()


def _network_of(item: Item | None) -> object:
    if item is None:
        return None
    node = item.obj
    return routes.pod_cidrs(node), routes.internal_ips(node)
