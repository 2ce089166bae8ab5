"""What a store has to show after a crash: all that was told, and a future that follows it."""

import itertools
import math
from collections.abc import Mapping

from minikube_py.datastore.kv import Backend, CompactedError, Event
from tests.datastore.proof import guarantees, linearizability
from tests.datastore.proof.clients import PREFIX
from tests.datastore.proof.history import History, Listing, Shown

_numbers = itertools.count(1)


async def check(
    backend: Backend, history: History, start: Mapping[str, Shown] | None = None
) -> dict[str, Shown]:
    """Hold a store against what its clients were told before; return what is in it.

    `start` is what was in it before them. Raises AssertionError.
    """
    page = await backend.list(PREFIX)
    found = {item.key: Shown(item.revision, item.value.decode()) for item in page.items}
    assert page.revision >= history.newest(), "the revision went back"
    history.listings.append(Listing(math.nextafter(math.inf, 0), math.inf, page.revision, found))
    end = await backend.create(f"{PREFIX}end {next(_numbers)}", b"end")
    assert end > page.revision, "a revision was given again"
    log, oldest = await read(backend, end)
    if not oldest:
        history.settle(log)
    linearizability.check(history, start)
    guarantees.check(history, log, oldest=oldest)
    assert replayed(log, oldest, found) == found, "the log does not lead to what is shown"
    await backend.delete(log[-1].key, revision=end)
    return found


async def read(backend: Backend, end: int) -> tuple[list[Event], int]:
    """Return all history that there is up to a revision, and the revision it begins after."""
    log: list[Event] = []
    oldest = 0
    while not log or log[-1].revision < end:
        try:
            async for events in backend.watch(PREFIX, after=oldest):
                log += events
                if events[-1].revision >= end:
                    break
        except CompactedError as error:
            oldest = error.oldest
            log = []
    return log, oldest


def replayed(log: list[Event], oldest: int, found: Mapping[str, Shown]) -> dict[str, Shown]:
    """Return what a log without its last event makes of what is not newer than its beginning."""
    state = {key: item for key, item in found.items() if item.revision <= oldest}
    for event in log[:-1]:
        if event.deleted:
            state.pop(event.key, None)
        else:
            state[event.key] = Shown(event.revision, event.value.decode())
    return state
