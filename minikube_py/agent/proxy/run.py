"""Keeps this node's service rules as Services and EndpointSlices say.

A change makes its service dirty; the dirty ones are derived anew and the difference goes to the
kernel in one transaction. The first change after a quiet time is carried out at once, those that
follow it together, a moment later.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.agent import nft
from minikube_py.agent.network import kernel
from minikube_py.agent.nft_elements import Element
from minikube_py.agent.nft_watch import TableWatch
from minikube_py.agent.proxy import conntrack, iptables_run, rules
from minikube_py.agent.proxy.chains import IPV4, IPV6
from minikube_py.agent.proxy.endpoints import Node, choose
from minikube_py.agent.proxy.health import PORT, Health, LocalEndpoints
from minikube_py.agent.proxy.iptables_run import IptablesRules
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.agent.proxy.ruleset import TABLE, Ruleset
from minikube_py.agent.proxy.status import Status
from minikube_py.agent.proxy.userspace import UserspaceRules
from minikube_py.agent.slices import add_service_index, service_key, slices_of
from minikube_py.api.core import NODES, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, labels_of
from minikube_py.client.informer import Informer, Informers
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
SYNC_SECONDS = 0.2
"""Between two transactions; upstream's minSyncPeriod is a second."""
HEAL_SECONDS = 5.0
"""After all rules were replaced because others changed them, so that a fight stays slow."""
FULL_SYNC_SECONDS = 3600.0
"""Between two replacements of all rules, in case others changed them (upstream's syncPeriod)."""
LOCALHOST_SWITCH = ("net/ipv4/conf/all/route_localnet", "1")
"""Lets 127.0.0.1 with a node port reach pods."""
RETRY = Backoff(first_seconds=1.0, max_seconds=60.0)
DERIVED_AT_ONCE = 20
"""Services derived before others get their turn in the event loop; about 5 ms."""


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """What a node's proxy is told."""

    node_name: str
    cluster_cidr: str
    """Networks of all pods, IPv4 and IPv6 with a comma between."""
    service_cidr: str
    local_addresses: frozenset[str] = frozenset()
    """Service addresses that this node serves itself (cluster DNS)."""
    mode: str = "nftables"
    """One of `MODES`."""
    localhost: bool = True
    """Whether 127.0.0.1 has node ports."""
    health_address: str = "0.0.0.0"
    health_port: int = PORT

    def families(self, zone: str) -> list[ProxyConfig]:
        """Return what each address family's rules depend on."""
        node = Node(name=self.node_name, zone=zone)
        services = self.service_cidr.split(",")
        return [
            ProxyConfig(
                node=node,
                cluster_cidr=pods,
                service_cidr=own,
                local_addresses=self.local_addresses,
                localhost=self.localhost,
                family=IPV6 if ":" in pods else IPV4,
            )
            for pods in self.cluster_cidr.split(",")
            for own in services
            if (":" in pods) == (":" in own)
        ]


class ServiceRules:
    """The rules of one address family, in this process and in the kernel."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._ruleset = Ruleset(config)
        self._elements: dict[Key, tuple[Element, ...]] = {}
        self._stale: set[conntrack.Stale] = set()
        self.is_full_needed = True
        self.is_suspect = False

    def set_config(self, config: ProxyConfig) -> None:
        """Take what services are derived with from now on."""
        self._config = config

    def set_service(self, key: Key, service: Obj | None, slices: Sequence[Obj]) -> None:
        """Derive a service anew; None takes it away."""
        elements = rules.derive(service, slices, self._config) if service is not None else ()
        old = self._elements.get(key, ())
        if elements == old:
            return
        self._stale.update(conntrack.plan(old, elements))
        self._ruleset.update(key, elements)
        if elements:
            self._elements[key] = elements
        else:
            self._elements.pop(key, None)

    async def apply(self) -> None:
        """Tell the kernel what changed, or all where it is not known what it has.

        Raises:
            NftError: the kernel refused; the next call tells it all.

        """
        if self.is_full_needed:
            text = await asyncio.to_thread(self._ruleset.full)
        elif self._ruleset.is_changed:
            text = self._ruleset.changes()
        else:
            return
        was_full, self.is_full_needed = self.is_full_needed, True
        await nft.apply(text)
        self.is_full_needed = False
        self._ruleset.told()
        stale, self._stale = self._stale, set()
        if was_full:
            await conntrack.forget_stale(tuple(self._elements.values()), self._config.family)
        else:
            await conntrack.forget(sorted(stale))

    async def close(self) -> None:
        """Leave the rules in place: services go on while kpy is started anew."""


Rules = ServiceRules | IptablesRules | UserspaceRules
MODES: Mapping[str, Callable[[ProxyConfig], Rules]] = {
    "nftables": ServiceRules,
    "iptables": IptablesRules,
    "userspace": UserspaceRules,
}
"""Values of `--proxy-mode`."""
WATCHED: Mapping[str, Sequence[str]] = {
    "nftables": (TABLE,),
    "iptables": ("nat", "filter", "mangle"),
    "userspace": (),
}
"""Tables in which changes by others matter; of the legacy back end of iptables none are told."""


class Proxy:
    """The services of this node, kept in rules."""

    def __init__(
        self, settings: ProxySettings, services: Informer, slices: Informer, health: Health
    ) -> None:
        self.status = Status(settings.mode)
        self._settings = settings
        self._services = services
        self._slices = slices
        self._health = health
        self._dirty: set[Key] = set()
        self._changed = asyncio.Event()
        self._watch = TableWatch(WATCHED[settings.mode], self._tampered)
        self._healing = False
        self._zone = ""
        self._switched = settings.mode == "userspace"
        make = MODES[settings.mode]
        self._families = [make(config) for config in settings.families("")]
        self._health_ports: dict[Key, tuple[int, LocalEndpoints]] = {}

    def service_changed(self, old: Item | None, new: Item | None) -> None:
        """Note a change of a service."""
        self.status.queued("service")
        self._mark(item.key for item in (old, new) if item is not None)

    def slice_changed(self, old: Item | None, new: Item | None) -> None:
        """Note a change of an endpoint slice, which may have gone from one service to another."""
        self.status.queued("endpoint")
        keys = (service_key(item) for item in (old, new) if item is not None)
        self._mark(key for key in keys if key is not None)

    def node_changed(self, _: Item | None, new: Item | None) -> None:
        """Note this node's zone; another one means other endpoints everywhere."""
        if new is None or new.key.name != self._settings.node_name:
            return
        zone = labels_of(new.obj).get("topology.kubernetes.io/zone", "")
        if zone != self._zone:
            self._zone = zone
            for family, config in zip(self._families, self._settings.families(zone), strict=True):
                family.set_config(config)
            self._mark(self._services.keys())

    def _tampered(self) -> None:
        self._changed.set()
        if self._settings.mode == "iptables":
            for family in self._families:
                family.is_suspect = True
            return
        log.warning("somebody changed our rules, putting them right table=%s", TABLE)
        self._healing = True
        for family in self._families:
            family.is_full_needed = True

    async def close(self) -> None:
        """End what this process does itself; rules of the kernel stay."""
        for family in self._families:
            await family.close()

    def _mark(self, keys: Iterable[Key]) -> None:
        self._dirty.update(keys)
        if self._dirty:
            self._health.queued()
            self._changed.set()

    async def run(self) -> None:
        """Carry out changes as they come, those by others too; runs until it is cancelled."""
        watched = WATCHED[self._settings.mode]
        with self._watch.listening() if watched else contextlib.nullcontext():
            await self._run()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        full_at = loop.time() + FULL_SYNC_SECONDS
        while True:
            started = loop.time()
            self._changed.clear()
            self._healing, was_healing = False, self._healing
            try:
                await self._sync()
                self.status.synced(loop.time() - started)
                failures = 0
            except nft.PacketFilterError as error:
                failures += 1
                log.warning("rules refused, trying all anew failures=%d error=%s", failures, error)
            rest = HEAL_SECONDS if was_healing else SYNC_SECONDS
            await asyncio.sleep(max(0.0, rest - (loop.time() - started)))
            wait = RETRY.wait_seconds(failures) if failures else full_at - loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait)):
                    await self._changed.wait()
            if loop.time() >= full_at:
                full_at = loop.time() + FULL_SYNC_SECONDS
                for family in self._families:
                    family.is_full_needed = True

    async def _sync(self) -> None:
        dirty, self._dirty = self._dirty, set()
        families = self._families
        for number, key in enumerate(sorted(dirty), 1):
            self._derive(key, families)
            if number % DERIVED_AT_ONCE == 0:
                await asyncio.sleep(0)
        refused = []
        async with self._watch.paused():
            for family in families:
                try:
                    await family.apply()
                except nft.PacketFilterError as failed:
                    refused.append(failed)
        if not self._switched:
            # Only now: a rule keeps others from using the first, and rules bring conntrack.
            await asyncio.to_thread(self._switch)
            self._switched = True
        await self._health.set_services(dict(self._health_ports.values()))
        if not self._dirty and all(error.is_partial for error in refused):
            self._health.synced()
        log.debug("rules applied services=%d", len(dirty))
        for error in refused:
            raise error

    def _switch(self) -> None:
        """Set what services ask of the kernel beside rules."""
        if self._settings.localhost:
            kernel.set_switch(*LOCALHOST_SWITCH)
        conntrack.set_limits()

    def _derive(self, key: Key, families: Sequence[Rules]) -> None:
        service = self._services.get(key)
        slices = slices_of(self._slices, key)
        for family in families:
            family.set_service(key, service, slices)
        port = get(service, "spec.healthCheckNodePort", 0)
        if port:
            count = local_count(service or {}, slices, self._settings.node_name)
            self._health_ports[key] = (port, LocalEndpoints(key.namespace, key.name, count))
        else:
            self._health_ports.pop(key, None)


def local_count(service: Obj, slices: Sequence[Obj], node_name: str) -> int:
    """Return how many addresses on this node serve any port of a service; pure."""
    node = Node(name=node_name)
    ports = get(service, "spec.ports") or ()
    chosen = (
        choose(slices, port.get("name") or "", port.get("protocol") or "TCP", node)
        for port in ports
    )
    return len({endpoint.ip for each in chosen for endpoint in each.local})


async def run_proxy(informers: Informers, settings: ProxySettings, clock: Clock) -> None:
    """Keep the rules of this node and serve the proxy's health; runs until it is cancelled.

    The rules stay when this ends, so that services go on while kpy is started anew.
    """
    services, slices = informers.get(SERVICES), informers.get(ENDPOINTSLICES)
    nodes = informers.get(NODES)
    add_service_index(slices)
    await informers.synced((SERVICES, ENDPOINTSLICES, NODES))
    await leave_other_modes(settings.mode)
    health = Health(clock)
    proxy = Proxy(settings, services, slices, health)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(nodes.subscribe(proxy.node_changed))
        stack.callback(services.subscribe(proxy.service_changed))
        stack.callback(slices.subscribe(proxy.slice_changed))
        stack.push_async_callback(health.close)
        stack.push_async_callback(proxy.close)
        await stack.enter_async_context(
            health.serving(settings.health_address, settings.health_port)
        )
        nursery = await stack.enter_async_context(Nursery("kube-proxy"))
        nursery.start("status", proxy.status.serve())
        await proxy.run()


async def leave_other_modes(mode: str) -> None:
    """Take away what an earlier life in another mode has left."""
    if mode != "nftables" and shutil.which("nft"):
        await remove_rules()
    if mode != "iptables" and shutil.which("iptables-save"):
        await iptables_run.remove_rules()


async def remove_rules() -> None:
    """Take all rules of nftables away."""
    for family in (IPV4, IPV6):
        table = f"{family.table} {TABLE}"
        await nft.apply(f"table {table}\ndelete table {table}\n")
