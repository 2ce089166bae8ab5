"""A datastore whose values are sealed on their way in and opened on their way out."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

from minikube_py.datastore.kv import (
    Backend,
    Change,
    DatastoreError,
    Event,
    KeyValue,
    Page,
    RevisionMismatchError,
    Unchanged,
)
from minikube_py.server.encryption.configuration import Configuration
from minikube_py.server.encryption.keyring import Keyring
from minikube_py.server.encryption.providers import MARK, ForeignError, SealError

Stored = TypeVar("Stored", KeyValue, Event)


class UndecryptableError(DatastoreError):
    """A stored value that the keys at hand do not open."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(
            f"the value of {key} cannot be decrypted: {why}; start with the encryption "
            "configuration that it was written with"
        )


class SealedBackend:
    """Any backend, with a keyring before it; keeps the promises of the one inside."""

    def __init__(self, inner: Backend, keyring: Keyring) -> None:
        self.inner = inner
        self.keyring = keyring
        self._generation = 0
        self._writing: Counter[int] = Counter()
        self._written = asyncio.Event()

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        found = await self.inner.get(key)
        return None if found is None else await self._opened(found)

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix in order."""
        page = await self.inner.list(prefix, after=after, limit=limit, revision=revision)
        if not any(kv.value.startswith(MARK) for kv in page.items):
            return page
        items = [await self._opened(kv) for kv in page.items]
        return Page(items, page.revision, page.more, page.remaining)

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision."""
        with self._write():
            sealed = await self._seal(key, value)
            return await self.inner.create(key, sealed, lease=lease)

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`, return the new one."""
        with self._write():
            sealed = await self._seal(key, value)
            try:
                return await self.inner.update(key, sealed, revision=revision, lease=lease)
            except RevisionMismatchError as error:
                raise await self._opened_error(error) from error

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key that is at `revision`, return the revision of the delete."""
        try:
            return await self.inner.delete(key, revision=revision)
        except RevisionMismatchError as error:
            raise await self._opened_error(error) from error

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        """Change several keys together or not at all; return the first revision."""
        with self._write():
            sealed = [
                change
                if change.value is None
                else change._replace(value=await self._seal(change.key, change.value))
                for change in changes
            ]
            try:
                return await self.inner.write(sealed, unchanged=unchanged)
            except RevisionMismatchError as error:
                raise await self._opened_error(error) from error

    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision."""
        async for events in self.inner.watch(prefix, after=after):
            if any(event.value.startswith(MARK) for event in events):
                yield tuple([await self._opened(event) for event in events])
            else:
                yield events

    async def revision(self) -> int:
        """Return the newest revision."""
        return await self.inner.revision()

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision."""
        await self.inner.compact(revision)

    async def close(self) -> None:
        """Finish what was accepted and release everything."""
        await self.inner.close()

    async def use(self, configuration: Configuration) -> None:
        """Write by this configuration; returns when nothing sealed otherwise is under way."""
        before = self._generation
        self.keyring.use(configuration)
        self._generation += 1
        while any(self._writing[generation] for generation in range(before + 1)):
            self._written.clear()
            await self._written.wait()
        self._writing = Counter({self._generation: self._writing[self._generation]})

    async def renew(self, found: KeyValue) -> bool:
        """Write a value again as the configuration wants it; False where it is so already.

        What somebody else writes meanwhile is as the configuration wants it, so that a lost race
        is no failure.
        """
        provider = self.keyring.sealer_of(found.key)
        if provider.is_current(found.value):
            return False
        plain = (await self._opened(found)).value
        with contextlib.suppress(RevisionMismatchError):
            sealed = await self._seal(found.key, plain)
            await self.inner.update(found.key, sealed, revision=found.revision, lease=found.lease)
        return True

    async def renewed(self, key: str, stored: bytes) -> bytes:
        """Return an old version of a key as the configuration wants it stored.

        That is the same where it is so already, and nothing where no key is left that opens it.

        Raises:
            UndecryptableError: it cannot be opened now, but maybe later.

        """
        if not stored or self.keyring.sealer_of(key).is_current(stored):
            return stored
        try:
            plain = await self.keyring.open(key, stored)
        except ForeignError:
            return b""
        except SealError as error:
            raise UndecryptableError(key, str(error)) from error
        return await self._seal(key, plain)

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        generation = self._generation
        self._writing[generation] += 1
        try:
            yield
        finally:
            self._writing[generation] -= 1
            self._written.set()

    async def _seal(self, key: str, value: bytes) -> bytes:
        try:
            return await self.keyring.sealer_of(key).seal(value, key.encode())
        except SealError as error:
            raise DatastoreError(f"the value of {key} cannot be encrypted: {error}") from error

    async def _opened(self, found: Stored) -> Stored:
        try:
            plain = await self.keyring.open(found.key, found.value)
        except SealError as error:
            raise UndecryptableError(found.key, str(error)) from error
        return found if plain is found.value else found._replace(value=plain)

    async def _opened_error(self, error: RevisionMismatchError) -> RevisionMismatchError:
        if error.current is None:
            return error
        current = await self._opened(error.current)
        return RevisionMismatchError(error.key, error.expected, current)
