"""The API servers of a cluster: which share its datastore and are alive.

Each renews a Lease with its address, named as upstream's (`apiserver-<hash>` in kube-system). No
clock of another machine is believed: a server counts for as long as its Lease was seen to change
within `SILENT_SECONDS` of our own clock. A server that stops takes its Lease away; those of servers
that died are removed by whoever finds them silent.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence

from minikube_py.api import times
from minikube_py.api.coordination import LEASES
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Obj, get
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.changes import Change

log = logging.getLogger(__name__)
NAMESPACE = "kube-system"
IDENTITY = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
"""The label of such Leases, upstream's."""
PREFIX = "apiserver-"
ADDRESS = "kpy.dev/advertise-address"
PORT = "kpy.dev/advertise-port"
RENEW_SECONDS = 5.0
LEAVE_SECONDS = 1.0
"""A datastore that does not answer holds nobody up; the others find this server silent."""
SILENT_SECONDS = 15.0
"""Upstream's endpoint reconciler: --apiserver masterEndpointReconcileTTL."""


class Peers:
    """The servers beside this one, and this one."""

    def __init__(
        self, cache: Cache, client: Client, address: str, clock: Clock, *, port: int = 6443
    ) -> None:
        self._cache = cache
        self._client = client
        self._address = address
        self._clock = clock
        self._name = _name_of(address)
        self._seen: dict[str, float] = {}
        """By name of the Lease: when it was last seen to change."""
        self.addresses: Sequence[str] = (address,)
        """Where the API is served, in order; never none, and with this server until it leaves."""
        self.port = self._port = port
        """The port that all servers publish: that of the first of `addresses`."""
        self._changed: list[Callable[[], None]] = []
        self._leaving = False

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have a function called whenever `addresses` is another."""
        self._changed.append(changed)

    async def run(self) -> None:
        """Renew the own Lease and look after the others until cancelled or `leave`."""
        stop = self._cache.kind(LEASES).subscribe(self._look)
        try:
            while True:
                if not self._leaving:
                    await self._tend()
                await self._clock.sleep(RENEW_SECONDS)
        finally:
            stop()

    async def _tend(self) -> None:
        try:
            await self._renew()
            await self._remove_silent()
        except StatusError as error:
            log.warning("lease of this server not renewed, trying again: %s", error)
        self._count()

    async def leave(self) -> None:
        """Take the own Lease away: nobody shall be sent here any more."""
        self._leaving = True
        self._count()
        await self._take_away()

    async def move(self, address: str) -> None:
        """Be found at another address from now on."""
        await self._take_away()
        self._address, self._name = address, _name_of(address)
        await self._tend()

    async def _take_away(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._client.delete(LEASES, self._name, NAMESPACE)
        except (StatusError, TimeoutError) as error:
            log.info("lease of this server not removed: %s", error or "it took too long")

    def _look(self, changes: Sequence[Change]) -> None:
        keys = [change.item.key for change in changes]
        names = [key.name for key in keys if key.namespace == NAMESPACE and _is_ours(key.name)]
        for name in names:
            self._seen[name] = self._clock.monotonic()
        if names:
            self._count()

    def _leases(self) -> dict[str, Obj]:
        """Return the Leases of servers, by name."""
        return {
            item.key.name: item.obj
            for item in self._cache.kind(LEASES).after("", NAMESPACE)
            if _is_ours(item.key.name) and get(item.obj, "metadata.annotations", {}).get(ADDRESS)
        }

    def _count(self) -> None:
        now = self._clock.monotonic()
        leases = self._leases()
        alive = {
            lease["metadata"]["annotations"][ADDRESS]: lease["metadata"]["annotations"].get(PORT)
            for name, lease in leases.items()
            if now - self._seen.setdefault(name, now) <= SILENT_SECONDS
        }
        for name in self._seen.keys() - leases.keys():
            del self._seen[name]
        alive.pop(self._address, None)
        if not self._leaving:
            alive[self._address] = str(self._port)
        addresses = tuple(sorted(alive))
        port = int(alive[addresses[0]] or self._port) if addresses else self.port
        if addresses and (addresses, port) != (self.addresses, self.port):
            log.info("servers changed addresses=%s port=%d", ",".join(addresses), port)
            self.addresses, self.port = addresses, port
            for changed in self._changed:
                changed()

    async def _renew(self) -> None:
        now = times.now_micros(self._clock)
        try:
            port = {"annotations": {PORT: str(self._port)}}
            change = {"metadata": port, "spec": {"renewTime": now}}
            await self._client.patch(LEASES, self._name, change, NAMESPACE, patch_type="merge")
        except NotFoundError:
            await self._client.create(LEASES, self._lease(now))

    def _lease(self, now: str) -> Obj:
        return {
            "metadata": {
                "name": self._name,
                "namespace": NAMESPACE,
                "labels": dict(IDENTITY),
                "annotations": {ADDRESS: self._address, PORT: str(self._port)},
            },
            "spec": {
                "holderIdentity": self._name,
                "leaseDurationSeconds": int(SILENT_SECONDS),
                "acquireTime": now,
                "renewTime": now,
            },
        }

    async def _remove_silent(self) -> None:
        now = self._clock.monotonic()
        for name, lease in self._leases().items():
            if now - self._seen.get(name, now) <= SILENT_SECONDS:
                continue
            condition = {"resourceVersion": lease["metadata"]["resourceVersion"]}
            # Another server may be faster, or it lives after all.
            with contextlib.suppress(NotFoundError, ConflictError):
                await self._client.delete(
                    LEASES, name, NAMESPACE, options={"preconditions": condition}
                )


def _name_of(address: str) -> str:
    return f"{PREFIX}{hashlib.sha256(address.encode()).hexdigest()[:26]}"


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX)
