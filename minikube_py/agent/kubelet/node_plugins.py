"""The plugins of a node put together: CSI, devices, DRA; one folder where all may register."""

from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.csi.registration import KIND as CSI
from minikube_py.agent.kubelet.csi.registration import CsiDrivers
from minikube_py.agent.kubelet.csi.volumes import CsiVolumes, Services
from minikube_py.agent.kubelet.devices.allocation import DeviceAllocations
from minikube_py.agent.kubelet.devices.plugins import KIND as DEVICES
from minikube_py.agent.kubelet.devices.plugins import DevicePlugins
from minikube_py.agent.kubelet.dra.claims import DraClaims
from minikube_py.agent.kubelet.dra.drivers import KIND as DRA
from minikube_py.agent.kubelet.dra.drivers import DraDrivers
from minikube_py.agent.kubelet.plugins.registration import Kind, Registration
from minikube_py.agent.kubelet.tokens import Tokens
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock

Part = tuple[str, Callable[[], Coroutine[Any, Any, None]]]


class NodePlugins:
    """All plugins of a node, and what its pods have of them."""

    def __init__(
        self,
        root: Path,
        node: str,
        services: tuple[Client, Tokens],
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        """Take the kubelet's folder, and whom to tell when the node has more or less to give."""
        client, tokens = services
        drivers = self._csi_drivers = CsiDrivers(node, client, clock)
        self.csi = CsiVolumes(root, node, Services(client, drivers, tokens, clock), wake)
        self._plugins = DevicePlugins(root, clock)
        self.devices = DeviceAllocations(self._plugins, wake)
        self._dra_drivers = DraDrivers(node, client, clock)
        self.claims = DraClaims(root, self._dra_drivers, client, clock)
        kinds: dict[str, Kind] = {CSI: drivers, DEVICES: self._plugins, DRA: self._dra_drivers}
        self._registration = Registration(root / "plugins_registry", kinds, clock)

    def on_health(self, wake: Callable[[str], None]) -> None:
        """Have pods woken (by uid) whose devices are better or worse than before."""
        self.devices.on_health = wake
        self.claims.on_health = wake

    def parts(self) -> Iterator[Part]:
        """Yield what is to run, in this order; who takes plugins up begins before they come."""
        yield "device plugins", self._plugins.run
        yield "CSI drivers", self._csi_drivers.run
        yield "DRA drivers", self._dra_drivers.run
        yield "plugins", self._registration.run
