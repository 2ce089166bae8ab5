"""The DRA drivers of this node, and what becomes of their ResourceSlices when they are gone.

A driver registers through plugins_registry; there may be two of a name while one takes over from
the other. One that nobody answers for during half a minute has its slices deleted, so that no pod
is sent here that could not start; and all of the node's slices go when the kubelet starts, as no
driver has come back by then. Upstream: pkg/kubelet/cm/dra/plugin.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError, CriUnimplementedError
from minikube_py.agent.kubelet.dra.health import HealthBook, Key
from minikube_py.agent.kubelet.dra.messages import codec
from minikube_py.agent.kubelet.plugins.registration import Plugin
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.resource_k8s import RESOURCESLICES
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
KIND = "DRAPlugin"
SERVICES = ("v1.DRAPlugin", "v1beta1.DRAPlugin")
"""What a driver may say that it speaks, the best first."""
HEALTH = "v1alpha1.DRAResourceHealth"
CALL_SECONDS = 45.0
WIPE_SECONDS = 30.0
"""How long a driver may be away: enough for one pod to follow another."""
RETRY = Backoff(first_seconds=1.0, factor=2.0, max_seconds=300.0)


class Driver:
    """One plugin of a driver; every call raises a child of CriError."""

    def __init__(self, plugin: Plugin, service: str) -> None:
        self.plugin = plugin
        self.connected = False
        version = service.partition(".")[0]
        self._service = f"/k8s.io.kubelet.pkg.apis.dra.{version}.DRAPlugin/"
        self._connection = Connection(plugin.endpoint, codec)

    async def call(self, method: str, claims: Sequence[Mapping[str, str]]) -> Mapping[str, Any]:
        """Have claims prepared or unprepared; return the answers by uid."""
        found = await self._connection.ask(
            self._service + method,
            (f"{method}Request", {"claims": claims}),
            f"{method}Response",
            timeout_seconds=CALL_SECONDS,
        )
        answers: Mapping[str, Any] = found.get("claims") or {}
        return answers

    async def healths(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield how well all devices are, whenever one has changed; raises a child of CriError."""
        request: tuple[str, dict[str, Any]] = ("NodeWatchResourcesRequest", {})
        path, answer = f"/{HEALTH}/NodeWatchResources", "NodeWatchResourcesResponse"
        async for told in self._connection.subscribe(path, request, answer):
            yield told

    async def follow(self, changed: Callable[[], None]) -> None:
        """Keep `connected` true to the facts, until cancelled."""
        try:
            async for connected in self._connection.states():
                self.connected = connected
                changed()
        finally:
            self.connected = False
            await self._connection.aclose()


class DraDrivers:
    """The drivers of this node, by name."""

    def __init__(self, node: str, client: Client, clock: Clock) -> None:
        self._node = node
        self._client = client
        self._clock = clock
        self._drivers: dict[str, list[Driver]] = {}
        self._follows: dict[Driver, list[asyncio.Task[None]]] = {}
        self._wipes: dict[str, asyncio.Task[None]] = {}
        self._nursery: Nursery | None = None
        self.on_register: Callable[[], None] = lambda: None
        """Called when a driver has come."""
        self.health = HealthBook()
        self.on_health: Callable[[str, Collection[Key]], None] = lambda *_: None
        """Called with a driver's name when devices are better or worse than before."""

    def get(self, name: str) -> Driver | None:
        """Return the plugin to ask: the latest that answers, or the latest."""
        found = self._drivers.get(name) or ()
        connected = [one for one in found if one.connected]
        return next(reversed(connected or found), None)

    async def run(self) -> None:
        """Look after the drivers, for ever."""
        async with Nursery("DRA drivers") as nursery:
            self._nursery = nursery
            try:
                await self._wipe("")
                await asyncio.Event().wait()
            finally:
                self._nursery = None

    async def accept(self, plugin: Plugin) -> str:
        """Take up a plugin of a driver; return why it cannot be used, "" where it can."""
        service = next((one for one in SERVICES if one in plugin.versions), "")
        if not service:
            return (
                f"invalid supported gRPC versions of DRA driver plugin {plugin.name} at endpoint"
                f" {plugin.endpoint}: none of the DRA gRPC services are supported"
                f" (found: {','.join(plugin.versions)}, supported: {','.join(SERVICES)})"
            )
        others = self._drivers.get(plugin.name) or []
        if any(one.plugin.endpoint == plugin.endpoint for one in others):
            return (
                f"endpoint {plugin.endpoint} already registered for DRA driver plugin {plugin.name}"
            )
        if self._nursery is None:
            return "the kubelet is not ready for DRA drivers"
        driver = Driver(plugin, service)
        self._drivers[plugin.name] = [*others, driver]
        followed = driver.follow(lambda: self._changed(plugin.name))
        self._follows[driver] = [
            self._nursery.start(f"DRA driver {plugin.name}", followed),
            self._nursery.start(f"health {plugin.name}", self._watch_health(driver)),
        ]
        log.info("DRA driver registered driver=%s service=%s", plugin.name, service)
        self.on_register()
        return ""

    async def forget(self, plugin: Plugin) -> bool:
        """Let a plugin of a driver go."""
        listed = self._drivers.get(plugin.name) or []
        for driver in [one for one in listed if one.plugin.socket == plugin.socket]:
            listed.remove(driver)
            for task in self._follows.pop(driver):
                task.cancel()
            log.info("DRA driver left driver=%s", plugin.name)
        self._changed(plugin.name)
        return True

    async def _watch_health(self, driver: Driver) -> None:
        """Listen to how well a driver's devices are, if it tells that."""
        name, failures = driver.plugin.name, 0
        while True:
            try:
                async for told in driver.healths():
                    failures = 0
                    self.on_health(name, self.health.update(name, told))
            except CriUnimplementedError:
                return
            except CriError as error:
                log.debug("health of devices not told driver=%s error=%s", name, error)
            finally:
                self.on_health(name, self.health.clear(name))
            failures += 1
            await self._clock.sleep(RETRY.wait_seconds(failures))

    def _changed(self, name: str) -> None:
        """Have the slices of a driver deleted in a while, or not, as nobody answers for it."""
        answered = any(one.connected for one in self._drivers.get(name) or ())
        pending = self._wipes.get(name)
        if answered and pending is not None:
            pending.cancel()
            del self._wipes[name]
        elif not answered and pending is None and self._nursery is not None:
            self._wipes[name] = self._nursery.start(f"wipe {name}", self._wipe_later(name))

    async def _wipe_later(self, name: str) -> None:
        await self._clock.sleep(WIPE_SECONDS)
        await self._wipe(name)

    async def _wipe(self, driver: str) -> None:
        """Delete the slices of a driver on this node, of all drivers for ""; until it is done."""
        selector = f"spec.nodeName={self._node}"
        if driver:
            selector = f"spec.driver={driver},{selector}"
        failures = 0
        while True:
            try:
                await self._client.delete_collection(RESOURCESLICES, field_selector=selector)
            except NotFoundError:
                return
            except StatusError as error:
                failures += 1
                log.debug("resource slices not deleted driver=%s error=%s", driver, error)
                await self._clock.sleep(RETRY.wait_seconds(failures))
            else:
                return


async def ask_all(
    driver: Driver, method: str, claims: Sequence[Mapping[str, str]]
) -> Mapping[str, Any]:
    """Return the answers of a driver, one for each claim.

    Raises:
        ClaimError: the driver failed, or left one out; in upstream's words.

    """
    try:
        answers = await driver.call(method, claims)
    except CriError as error:
        raise ClaimError(f"{method}: {error.as_go_says}") from None
    names = {claim["uid"]: claim["name"] for claim in claims}
    for uid, answer in answers.items():
        if uid not in names:
            raise ClaimError(f"{method} returned result for unknown claim UID {uid}")
        if answer.get("error"):
            raise ClaimError(f"{method} failed for ResourceClaim {names[uid]}: {answer['error']}")
    if missing := len(names) - len(answers):
        raise ClaimError(f"{method} skipped {missing} ResourceClaims")
    return answers


class ClaimError(Exception):
    """Claims of a pod cannot be prepared or given back now."""
