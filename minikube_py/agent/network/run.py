"""Keeps a node's pod network as the Node objects say.

The node's own podCIDR makes the bridge and the CNI configuration; the other nodes make what the
back end needs to reach their pods (`routes.py`). Nothing is done at an event that changes neither.
What others remove of it comes back: the kernel tells when a link or route goes (`link_events.py`)
and when rules of the packet filter are changed (`nft_watch.py`).
"""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent import nft
from minikube_py.agent.network import cni, kernel, links, masquerade, routes, wireguard
from minikube_py.agent.network.link_events import link_events
from minikube_py.agent.nft_watch import TableWatch
from minikube_py.api.core import NODES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff

log = logging.getLogger(__name__)
RETRY = Backoff(first_seconds=1.0, max_seconds=60.0)
HEAL_SECONDS = 5.0
"""After rules were put right because others changed them, so that a fight stays slow."""


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
    backend: str = "host-gw"
    """One of `routes.BACKENDS`."""
    key_dir: Path = Path()
    """Where the key of WireGuard is kept."""


class PodNetwork:
    """What has been done to this node so far, and the next steps."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._pod_cidrs: Sequence[str] = ()
        self._mtu = 0
        """Of pods, and of the link by which they reach others."""
        self._changed = asyncio.Event()
        self._changed.set()
        self._tampered = False
        """Whether others have changed our rules since they were made."""
        self.watch = TableWatch((masquerade.TABLE,), self._rules_changed)

    def changed(self) -> None:
        """Note that something may have to be done."""
        self._changed.set()

    async def needed(self, seconds: float | None) -> None:
        """Return once something may have to be done, or that many seconds are over."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            log.debug("pod network tried again")
        self._changed.clear()

    def _rules_changed(self) -> None:
        log.warning("somebody changed our rules, putting them right table=%s", masquerade.TABLE)
        self._tampered = True
        self._changed.set()

    async def heal(self) -> None:
        """Make the rules anew where others have changed them.

        Raises:
            NftError: the kernel refused them.

        """
        if not self._tampered or not self._pod_cidrs:
            return
        await self._make_rules(self._pod_cidrs)
        await asyncio.to_thread(kernel.accept_forwarded, self._config.cluster_cidr.split(","))
        self._tampered = False
        await asyncio.sleep(HEAL_SECONDS)

    async def _make_rules(self, pod_cidrs: Sequence[str]) -> None:
        text = masquerade.ruleset(pod_cidrs, self._config.cluster_cidr.split(","))
        async with self.watch.paused():
            await nft.apply(text)

    async def set_up(self, pod_cidrs: Sequence[str]) -> None:
        """Make this node ready for pods of these networks; the CNI configuration comes last."""
        if not pod_cidrs or list(pod_cidrs) == list(self._pod_cidrs):
            return
        await self._make_rules(pod_cidrs)
        await asyncio.to_thread(self._set_up, pod_cidrs)
        self._pod_cidrs = pod_cidrs
        await asyncio.to_thread(self.keep_service_routes)
        log.info(
            "pod network ready bridge=%s cidr=%s backend=%s mtu=%d",
            self._config.bridge,
            ",".join(pod_cidrs),
            self._config.backend,
            self._mtu,
        )

    def _set_up(self, pod_cidrs: Sequence[str]) -> None:
        config = self._config
        kernel.set_switches(ipv6=any(":" in cidr for cidr in pod_cidrs))
        kernel.accept_forwarded(config.cluster_cidr.split(","))
        self.uplink, uplink_mtu = kernel.link_of(config.node_ip)
        self._mtu = routes.pod_mtu(config.backend, config.node_ip, uplink_mtu)
        kernel.ensure_bridge(config.bridge, [cni.gateway(cidr) for cidr in pod_cidrs], self._mtu)
        kernel.silence_redirects(config.bridge)
        cni.write_config(
            config.cni_conf_dir,
            cni.BridgeNetwork(
                pod_cidrs=pod_cidrs,
                bridge=config.bridge,
                mtu=self._mtu,
                state_dir=config.cni_state_dir,
            ),
        )

    def keep_service_routes(self) -> None:
        """Have routes to services where nothing else leads there; blocks.

        What this machine sends to a service has to be routable before it is rewritten.
        """
        if self._pod_cidrs and not kernel.has_default_route():
            for cidr in self._config.service_cidr.split(","):
                kernel.ensure_device_route(cidr, self._config.bridge)

    async def connect(self, own: routes.Peer, others: Sequence[routes.Peer]) -> bool:
        """Reach the pods of the other nodes; return whether the kernel took all of it."""
        own = own._replace(addresses=(self._config.node_ip, *own.addresses))
        wanted = routes.wanted(self._config.backend, own, others, self._mtu)
        try:
            if wanted.link is not None and wanted.link.name == routes.WIREGUARD_LINK:
                await wireguard.ensure_link()
            refused = await asyncio.to_thread(_bring_about, wanted)
            if wanted.link is not None and wanted.link.name == routes.WIREGUARD_LINK:
                await self._set_peers(others)
        except wireguard.WireGuardError as error:
            log.warning("nodes not connected error=%s", error)
            return False
        for change, why in refused:
            log.warning("pod network: refused change=%s error=%s%s", change, why, _remedy(change))
        return not refused

    async def _set_peers(self, others: Sequence[routes.Peer]) -> None:
        private = await asyncio.to_thread(wireguard.private_key, self._config.key_dir)
        family = ipaddress.ip_address(self._config.node_ip).version
        await wireguard.set_peers(wireguard.configuration(private, others, family))


def _remedy(change: routes.Change) -> str:
    """Return what to do where the kernel cannot make the link itself."""
    if not change.is_wanted or not isinstance(change.part, routes.Link):
        return ""
    return "; where this kernel has no VXLAN, run the server with another --network-backend"


def _bring_about(wanted: routes.State) -> Sequence[tuple[routes.Change, str]]:
    changes = list(routes.plan(wanted, links.read()))
    return links.change(changes) if changes else ()


async def run_network(informers: Informers, config: NetworkConfig, client: Client) -> None:
    """Keep the network of this node; runs until it is cancelled.

    `client` may write this node's annotations.

    Raises:
        NftError: the kernel refused the rules; the caller starts this again.
        StatusError: the key of WireGuard could not be told; likewise.

    """
    if config.backend == "none":
        await asyncio.Event().wait()  # another program connects pods
    nodes = informers.get(NODES)
    await nodes.wait_synced()
    network = PodNetwork(config)

    def notice(old: Item | None, new: Item | None) -> None:
        if _network_of(old) != _network_of(new):
            network.changed()

    failures = 0
    with contextlib.ExitStack() as stack:
        stack.callback(nodes.subscribe(notice))
        links_of_ours = frozenset(routes.LINKS.values())
        stack.enter_context(link_events(links_of_ours, lambda: network.uplink, network.changed))
        stack.enter_context(network.watch.listening())
        while True:
            await network.needed(RETRY.wait_seconds(failures) if failures else None)
            await network.heal()
            own = nodes.get(Key("", config.node_name))
            if own is None:
                continue
            await _publish_key(own, config, client)
            peer = routes.peer_of(own)
            await network.set_up(peer.pod_cidrs)
            await asyncio.to_thread(network.keep_service_routes)
            others = [
                routes.peer_of(item.obj)
                for item in nodes.items()
                if item.key.name != config.node_name
            ]
            failures = 0 if await network.connect(peer, others) else failures + 1


async def _publish_key(own: Obj, config: NetworkConfig, client: Client) -> None:
    """Tell other nodes this node's public key, where its annotation says something else."""
    if config.backend != "wireguard":
        return
    private = await asyncio.to_thread(wireguard.private_key, config.key_dir)
    key = wireguard.public_key(private)
    if annotations_of(own).get(routes.PUBLIC_KEY) != key:
        patch = {"metadata": {"annotations": {routes.PUBLIC_KEY: key}}}
        await client.patch(NODES, config.node_name, patch)


def _network_of(item: Item | None) -> object:
    return None if item is None else routes.peer_of(item.obj)
