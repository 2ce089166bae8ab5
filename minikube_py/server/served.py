"""Where the API is served, as `default/kubernetes` says: here alone, or at all servers there are.

The machine may be given another address while the server runs; who gave the server one to be
reached at, by --advertise-address or --bind-address, keeps it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server import bootstrap_objects
from minikube_py.server.bootstrap_objects import Wanted
from minikube_py.server.config import ServerConfig
from minikube_py.server.peers import Peers
from minikube_py.server.registry.cache import Cache


class Served:
    """The addresses that the cluster is told, and who shares in them."""

    def __init__(
        self, config: ServerConfig, address: str, cache: Cache, client: Client, clock: Clock
    ) -> None:
        self._config = config
        self._address = address
        self._changed: list[Callable[[], None]] = []
        port = config.https_listen_port
        self._peers = Peers(cache, client, address, clock, port=port) if cache.shared else None

    def start(self, nursery: Nursery) -> None:
        """Take part among the servers of the datastore, where others may be."""
        if self._peers is not None:
            nursery.start("peers", restarting("peers", self._peers.run))

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have a function called whenever `newest` is another."""
        self._changed.append(changed)
        if self._peers is not None:
            self._peers.subscribe(changed)

    def newest(self) -> Sequence[Wanted]:
        """Return the objects that say it now."""
        peers = self._peers
        if peers is None:
            return tuple(bootstrap_objects.kubernetes_endpoints(self._config, (self._address,)))
        config = replace(self._config, https_listen_port=peers.port)
        return (
            *bootstrap_objects.kubernetes_service(config),
            *bootstrap_objects.kubernetes_endpoints(config, peers.addresses),
        )

    async def move(self, address: str) -> None:
        """Be reached at another address from now on."""
        if address == self._address:
            return
        self._address = address
        if self._peers is not None:
            await self._peers.move(address)
        for changed in self._changed:
            changed()

    async def leave(self) -> None:
        """Send nobody here any more, where others serve on."""
        if self._peers is not None:
            await self._peers.leave()
