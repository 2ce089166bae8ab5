"""Node ports that a server is about to give away, told to the servers beside it.

Which ports are in use is read off the services. What another server is just writing is not among
them yet, so before it writes a server creates a key for each port, which only one can, looks at
the services again, and deletes the keys when the service is written. A key that a crash left
behind counts no more after a while.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from minikube_py.datastore.kv import Backend, KeyExistsError, KeyValue, RevisionMismatchError
from minikube_py.lib.clock import Clock
from minikube_py.server.registry.encoding import PREFIX

CLAIMS = f"{PREFIX}ranges/servicenodeports/"
LIFETIME = timedelta(seconds=60)
"""Longer than any write takes (upstream's --request-timeout)."""


class PortClaims:
    """The claims of one server, which are told from others' by its identity."""

    def __init__(self, backend: Backend, clock: Clock, identity: str) -> None:
        self._backend = backend
        self._clock = clock
        self._identity = identity

    async def take(self, ports: Iterable[int]) -> set[int]:
        """Claim ports; return those that another server has claimed."""
        return {port for port in ports if not await self._take(port)}

    async def give_back(self, ports: Iterable[int]) -> None:
        """Let go of those ports that this server has claimed."""
        for port in ports:
            claim = await self._backend.get(f"{CLAIMS}{port}")
            if claim is not None and _owner(claim) == self._identity:
                await self._remove(claim)

    async def _take(self, port: int) -> bool:
        until = (self._clock.now() + LIFETIME).isoformat()
        try:
            await self._backend.create(f"{CLAIMS}{port}", f"{self._identity} {until}".encode())
        except KeyExistsError:
            claim = await self._backend.get(f"{CLAIMS}{port}")
            if claim is not None and _end(claim) < self._clock.now():
                await self._remove(claim)
            return False
        return True

    async def _remove(self, claim: KeyValue) -> None:
        try:
            await self._backend.delete(claim.key, revision=claim.revision)
        except RevisionMismatchError:
            return  # another server was faster


def _owner(claim: KeyValue) -> str:
    return claim.value.decode().partition(" ")[0]


def _end(claim: KeyValue) -> datetime:
    return datetime.fromisoformat(claim.value.decode().partition(" ")[2])
