"""The history of a datastore whose values are sealed: on disk they stay so, old ones too."""

from collections.abc import Sequence

from minikube_py.datastore.history import Historian, Otherwise, Written
from minikube_py.datastore.kv import Page
from minikube_py.server.encryption.keyring import Keyring
from minikube_py.server.encryption.providers import SealError


class SealedHistory:
    """Opens what another history holds.

    A version that no key opened when keys were rotated has no value any more.
    """

    def __init__(self, inner: Historian, keyring: Keyring) -> None:
        self._inner = inner
        self._keyring = keyring

    async def versions(self, key: str, *, before: int = 0, limit: int = 100) -> Sequence[Written]:
        """Return the writes of a key, newest first: those before a revision (0: all)."""
        found = await self._inner.versions(key, before=before, limit=limit)
        return [one._replace(value=await self._opened(key, one.value)) for one in found]

    async def _opened(self, key: str, value: bytes | None) -> bytes | None:
        if not value:  # a version that no key opened was emptied, see `keeper`
            return None
        try:
            return await self._keyring.open(key, value)
        except SealError:
            return None

    async def past(self, prefix: str, *, revision: int, after: str = "", limit: int = 0) -> Page:
        """Return keys below a prefix as they were at a revision; what cannot be opened is empty."""
        page = await self._inner.past(prefix, revision=revision, after=after, limit=limit)
        items = [
            kv._replace(value=await self._opened(kv.key, kv.value) or b"") for kv in page.items
        ]
        return Page(items, page.revision, page.more, page.remaining)

    async def revision_at(self, at: float) -> int:
        """Return the last revision that was written at or before a moment; 0 where none is."""
        return await self._inner.revision_at(at)

    async def time_of(self, revision: int) -> float:
        """Return when a revision was there, in seconds of the epoch; 0 where that is not known."""
        return await self._inner.time_of(revision)

    async def oldest(self, prefix: str) -> int:
        """Return the oldest revision at which keys below a prefix can be shown."""
        return await self._inner.oldest(prefix)

    async def size(self) -> int:
        """Return how many bytes all kept versions take, about."""
        return await self._inner.size()

    async def rewrite(self, prefix: str, otherwise: Otherwise) -> int:
        """Store the sealed values of old versions otherwise; return how many changed."""
        return await self._inner.rewrite(prefix, otherwise)

    async def erase(self) -> None:
        """Leave nothing in the files of what was rewritten or removed before this call."""
        await self._inner.erase()
