"""List, then follow the log: the state machine that turns a Client into an endless feed.

A watcher is in one of three states. It lists where it knows nothing (EMPTY) or where the history
it stood on was compacted (EXPIRED: users keep serving the old cache meanwhile), and follows the
log from the last revision it saw otherwise (WATCHING). A watch that ends or breaks is resumed,
not listed anew. Every transition stands in one table.
"""

import contextlib
import enum
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from minikube_py.api.errors import ExpiredError, GoneError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import Client, WatchEvent
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
BACKOFF = Backoff(first_seconds=0.2, max_seconds=30.0)
"""client-go's reflectors wait from 0.8 s to 30 s; a first retry may come sooner in process."""


class State(enum.Enum):
    """Where a watcher is."""

    EMPTY = "empty"  # nothing known: list next
    WATCHING = "watching"  # following the log, or about to from the last revision
    EXPIRED = "expired"  # history compacted: keep serving the old cache, list again


class Outcome(enum.Enum):
    """How one step of a watcher ended."""

    LISTED = "listed"  # a whole listing arrived
    ENDED = "ended"  # the server closed a watch that had brought something
    FAILED = "failed"  # refused, unreachable, or closed at once: wait before the next step
    GONE = "gone"  # the revision or the continue token is too old


TRANSITIONS = {
    (State.EMPTY, Outcome.LISTED): State.WATCHING,
    (State.EMPTY, Outcome.FAILED): State.EMPTY,
    (State.EMPTY, Outcome.GONE): State.EMPTY,
    (State.EXPIRED, Outcome.LISTED): State.WATCHING,
    (State.EXPIRED, Outcome.FAILED): State.EXPIRED,
    (State.EXPIRED, Outcome.GONE): State.EXPIRED,
    (State.WATCHING, Outcome.ENDED): State.WATCHING,
    (State.WATCHING, Outcome.FAILED): State.WATCHING,
    (State.WATCHING, Outcome.GONE): State.EXPIRED,
}


@dataclass(frozen=True)
class Selection:
    """Which objects of a kind to follow; all where nothing is said."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""


ALL = Selection()


@dataclass(frozen=True)
class Listed:
    """Everything there is, at a revision; what is not in it is gone."""

    items: Sequence[Item]
    revision: int


class Watcher:
    """Follows one kind for ever; `feed` survives every refusal and every broken connection."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        clock: Clock,
        *,
        selection: Selection = ALL,
        page_limit: int = 0,
        backoff: Backoff = BACKOFF,
    ) -> None:
        """Make a watcher; `page_limit` objects are listed at once (0: all)."""
        self.state = State.EMPTY
        self.resource = resource
        self.selection = selection
        self._client = client
        self.clock = clock
        self._page_limit = page_limit
        self._backoff = backoff
        self._revision = 0
        self._failures = 0

    async def feed(self) -> AsyncGenerator[Listed | Sequence[WatchEvent], None]:
        """Yield a listing, then batches of events; another listing where history was lost."""
        while True:
            watching = self.state is State.WATCHING
            outcome = Outcome.FAILED if watching else Outcome.LISTED
            try:
                if watching:
                    async with contextlib.aclosing(self._follow()) as batches:
                        async for batch in batches:
                            outcome = Outcome.ENDED
                            yield batch
                else:
                    yield await self._list()
            except (ExpiredError, GoneError):
                outcome = Outcome.GONE
            except StatusError as error:
                outcome = Outcome.FAILED
                self._report(error)
            await self._step(outcome)

    async def _step(self, outcome: Outcome) -> None:
        self.state = TRANSITIONS[self.state, outcome]
        if outcome in (Outcome.LISTED, Outcome.ENDED):
            self._failures = 0
            return
        self._failures += 1
        await self.clock.sleep(self._backoff.wait_seconds(self._failures))

    def _report(self, error: StatusError) -> None:
        level = logging.WARNING if self._failures == 0 else logging.DEBUG
        log.log(
            level,
            "watch failed, trying again resource=%s state=%s reason=%s error=%s",
            self.resource.group_resource,
            self.state.value,
            error.reason,
            error,
        )

    async def _list(self) -> Listed:
        items: list[Item] = []
        continue_ = ""
        while True:
            page = await self._client.list(
                self.resource,
                self.selection.namespace,
                label_selector=self.selection.label_selector,
                field_selector=self.selection.field_selector,
                limit=self._page_limit,
                continue_=continue_,
            )
            items.extend(page.items)
            continue_ = page.continue_
            if not continue_:
                self._revision = page.revision
                return Listed(items, page.revision)

    async def _follow(self) -> AsyncGenerator[Sequence[WatchEvent], None]:
        batches = self._client.watch(
            self.resource,
            self.selection.namespace,
            revision=self._revision,
            label_selector=self.selection.label_selector,
            field_selector=self.selection.field_selector,
        )
        try:
            async for batch in batches:
                if batch:
                    self._revision = max(self._revision, batch[-1].item.revision)
                    yield batch
        finally:
            if isinstance(batches, AsyncGenerator):  # release the stream now, not when collected
                await batches.aclose()
