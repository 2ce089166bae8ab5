"""What clients that write without end were told, whatever happens to the server meanwhile."""

import asyncio
import itertools

from minikube_py.datastore.kv import Backend, KeyExistsError, UnavailableError

BOUND_SECONDS = 120.0


async def written(backend: Backend, key: str) -> int:
    """Create a key, again and again while the server is away; one time may go unanswered."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            try:
                return await backend.create(key, b"")
            except UnavailableError:
                await asyncio.sleep(0.05)
            except KeyExistsError:
                found = await backend.get(key)
                assert found is not None
                return found.revision


class Ledger:
    """What was acknowledged to clients that write without end."""

    def __init__(self, backend: Backend) -> None:
        self.revisions: dict[str, int] = {}
        self._backend = backend
        self._entered: asyncio.Queue[str] = asyncio.Queue()

    async def write(self, client: int) -> None:
        for n in itertools.count():
            key = f"/r/{client}-{n}"
            try:
                self.revisions[key] = await self._backend.create(key, b"")
                self._entered.put_nowait(key)
            except UnavailableError:
                await asyncio.sleep(0.01)

    async def grown(self, entries: int) -> None:
        async with asyncio.timeout(BOUND_SECONDS):
            for _ in range(entries):
                await self._entered.get()
