"""The device plugins of this node: they come by the kubelet's own socket, and go with their stream.

    device-plugins/kubelet.sock    where plugins register; one made anew tells them to come again
    device-plugins/<endpoint>      a plugin's own socket

As long as a plugin answers, its healthy devices are what the node has to give. When its stream ends
none of them is; a plugin that has not come back after five minutes is forgotten. Plugins may also
register through plugins_registry. Upstream: pkg/kubelet/cm/devicemanager.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.devices.checkpoint import FILE
from minikube_py.agent.kubelet.devices.inventory import Devices, counts, unhealthy
from minikube_py.agent.kubelet.devices.messages import codec
from minikube_py.agent.kubelet.devices.plugin import VERSION, DevicePlugin
from minikube_py.agent.kubelet.plugins.registration import Plugin
from minikube_py.agent.kubelet.plugins.serving import Method, RefusedError, serving
from minikube_py.api.core.resources import is_extended
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
KIND = "DevicePlugin"
FOLDER, SOCKET = "device-plugins", "kubelet.sock"
GRACE_SECONDS = 300.0
"""How long a plugin may be away before its resource is forgotten."""


class DevicePlugins:
    """The plugins by resource, and what they have told of their devices."""

    def __init__(self, root: Path, clock: Clock) -> None:
        """Take the kubelet's folder."""
        self.folder = root / FOLDER
        self.inventory: dict[str, Devices] = {}
        """The devices of each resource that has a plugin, or had one a short while ago."""
        self.on_change: Callable[[], Awaitable[None]] | None = None
        """Called when devices have come, gone, or changed their health."""
        self._changed = asyncio.Event()
        self._clock = clock
        self._plugins: dict[str, DevicePlugin] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._forgotten: set[str] = set()
        self._nursery: Nursery | None = None

    # --- what there is ---

    def get(self, resource: str) -> DevicePlugin | None:
        """Return the plugin that answers for a resource now."""
        return self._plugins.get(resource)

    def expect(self, resources: Iterable[str]) -> None:
        """Take note of resources that had plugins before this start: none is there to give yet."""
        for resource in resources:
            self.inventory.setdefault(resource, {})
            self._forget_later(resource)

    def capacity(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return how many devices the node has of each resource, and how many it can give."""
        found = {name: counts(devices) for name, devices in self.inventory.items()}
        found |= dict.fromkeys(self._forgotten, (0, 0))
        return (
            {name: str(all_of_them) for name, (all_of_them, _) in found.items()},
            {name: str(healthy) for name, (_, healthy) in found.items()},
        )

    # --- how they come ---

    async def run(self) -> None:
        """Have plugins register, for ever."""
        make_dir(self.folder, 0o750)
        for path in self.folder.iterdir():
            if path.name != FILE and not path.is_dir():
                path.unlink(missing_ok=True)
        methods = {"Register": Method("RegisterRequest", "Empty", self._register)}
        async with Nursery("device plugins") as nursery:
            self._nursery = nursery
            try:
                service = f"{VERSION}.Registration"
                async with serving(self.folder / SOCKET, service, methods, codec()):
                    await self._tell()
            finally:
                self._nursery = None

    async def _tell(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self.on_change is not None:
                await self.on_change()

    async def _register(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        version, resource = request.get("version", ""), str(request.get("resource_name", ""))
        if version != VERSION:
            raise RefusedError(
                f'requested API version "{version}" is not supported by kubelet.'
                f' Supported version is ["{VERSION}"]'
            )
        endpoint = str(request.get("endpoint", ""))
        self._begin(resource, self.folder / endpoint, request.get("options") or {})
        return {}

    async def accept(self, plugin: Plugin) -> str:
        """Take up a plugin that came through plugins_registry; its name is that of its resource."""
        if VERSION not in plugin.versions:
            return (
                f"device plugin {plugin.name} versions [{' '.join(plugin.versions)}]"
                f" do not include [{VERSION}]"
            )
        try:
            self._begin(plugin.name, Path(plugin.endpoint), None)
        except RefusedError as error:
            return str(error)
        return ""

    async def forget(self, plugin: Plugin) -> bool:
        """Let a plugin go whose socket in plugins_registry is gone."""
        if (watch := self._watches.get(plugin.name)) is not None:
            watch.cancel()
            self._ended(self._plugins[plugin.name])
        return True

    def _begin(self, resource: str, socket: Path, options: Mapping[str, Any] | None) -> None:
        """Follow a plugin; it takes the place of another one of its resource."""
        if not is_extended(resource):
            raise RefusedError(f'the ResourceName "{resource}" is invalid')
        if self._nursery is None:
            raise RefusedError("the kubelet is not ready for device plugins", "UNAVAILABLE")
        if (before := self._watches.get(resource)) is not None:
            before.cancel()
        plugin = DevicePlugin(resource, socket, options)
        self._plugins[resource] = plugin
        self._watches[resource] = self._nursery.start(f"devices {resource}", self._follow(plugin))
        log.info("device plugin registered resource=%s socket=%s", resource, socket.name)

    async def _follow(self, plugin: DevicePlugin) -> None:
        resource = plugin.resource
        try:
            async for devices in plugin.watch():
                self._told(plugin, devices)
        except CriError as error:
            log.info("device plugin ended resource=%s error=%s", resource, error)
        finally:
            self._ended(plugin)
            await plugin.aclose()

    def _told(self, plugin: DevicePlugin, devices: Devices) -> None:
        if self._plugins.get(plugin.resource) is plugin:
            self._forgotten.discard(plugin.resource)
            self.inventory[plugin.resource] = devices
            self._changed.set()

    def _ended(self, plugin: DevicePlugin) -> None:
        resource = plugin.resource
        if self._plugins.get(resource) is not plugin:
            return  # another one has come in its place
        del self._plugins[resource], self._watches[resource]
        self.inventory[resource] = unhealthy(self.inventory.get(resource, {}))
        log.info("device plugin left resource=%s", resource)
        self._forget_later(resource)
        self._changed.set()

    def _forget_later(self, resource: str) -> None:
        def forget() -> None:
            if self.inventory.get(resource) is before and resource not in self._plugins:
                del self.inventory[resource]
                self._forgotten.add(resource)
                self._changed.set()

        before = self.inventory[resource]
        self._clock.call_later(GRACE_SECONDS, forget)
