"""The six guarantees of a watch, wherever compaction comes in between, and who breaks them."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from minikube_py.datastore import logged, tail
from minikube_py.datastore.kv import Backend, CompactedError, Event
from minikube_py.lib.tasks import Nursery
from tests.datastore.proof import aftermath, guarantees
from tests.datastore.proof.clients import compact_now_and_then, crowd, finish, follow
from tests.datastore.proof.guarantees import BrokenGuaranteeError
from tests.datastore.proof.history import History, Line, Told

BOUND_SECONDS = 120.0


def brought(*numbers: int, watch: str = "w", key: str = "/r/k") -> Line:
    return {"watch": watch, "events": [(key, f"v{n}", n, 1, False, 0) for n in numbers]}


def began(after: int = 0, watch: str = "w") -> Line:
    return {"watch": watch, "prefix": "/r/", "after": after}


def written(revision: int, key: str = "/r/k") -> Sequence[Line]:
    call = {"call": revision, "kind": "update", "key": key, "value": f"v{revision}"}
    return call, {"end": revision, "how": "done", "revision": revision}


def log(*numbers: int) -> list[Event]:
    return [Event("/r/k", f"v{n}".encode(), n, 1) for n in numbers]


GOOD: Mapping[str, tuple[Sequence[Line], list[Event]]] = {
    "one after the other": ((began(), brought(1), brought(2, 3)), log(1, 2, 3)),
    "a watch that is behind": ((began(), brought(1)), log(1, 2, 3)),
    "resumed": ((began(), brought(1, 2), began(2), brought(3)), log(1, 2, 3)),
    "told that its place is gone": (
        (began(), brought(1), {"watch": "w", "compacted": 3}, began(3), brought(4)),
        log(1, 2, 3, 4),
    ),
}
BAD: Mapping[str, tuple[Sequence[Line], list[Event], str]] = {
    "not ordered": ((began(), brought(2), brought(1)), log(1, 2), "not ordered"),
    "not ordered in a batch": ((began(), brought(1, 3, 2)), log(1, 2, 3), "not ordered"),
    "older than asked for": ((began(2), brought(2)), log(1, 2), "not ordered"),
    "not unique": ((began(), brought(1), brought(1, 2)), log(1, 2), "not unique"),
    "not reliable": ((began(), brought(1), brought(3)), log(1, 2, 3), "not reliable"),
    "not atomic": (
        (began(), brought(1), brought(1, key="/r/other")),
        [*log(1), Event("/r/other", b"v1", 1, 1)],
        "not atomic",
    ),
    "not resumable": (
        (began(), brought(1, 2), {"watch": "w", "compacted": 2}),
        log(1, 2, 3),
        "not resumable",
    ),
    "resumed with a gap": (
        (began(), brought(1), began(1), brought(3)),
        log(1, 2, 3),
        "not reliable",
    ),
    "resumed from before": ((began(), brought(1, 2), began(0)), log(1, 2), "resumed at 0"),
    "no bookmark": ((began(), brought(1), brought(2, 4)), log(1, 2, 3, 4), "4 is no bookmark"),
    "taken back": ((began(), brought(1, 2)), log(1), "taken back"),
    "two stories": ((began(), brought(1)), [Event("/r/k", b"other", 1, 1)], "two stories"),
    "acknowledged and not there": ((*written(1), *written(2)), log(1), "acknowledged"),
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted_is(name: str) -> None:
    lines, found = GOOD[name]
    guarantees.check(History(lines), found, oldest=0)


@pytest.mark.parametrize("name", BAD)
def test_refused_is(name: str) -> None:
    lines, found, reason = BAD[name]
    with pytest.raises(BrokenGuaranteeError, match=reason):
        guarantees.check(History(lines), found, oldest=0)


async def test_watches_beside_writes_and_compactions_keep_what_they_guarantee(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WAITING_EVENTS_MAX", 4)
    told = Told()
    async with asyncio.timeout(BOUND_SECONDS), Nursery("test") as nursery:
        for n in range(4):
            nursery.start(f"watch {n}", follow(backend, told, f"watch-{n}"))
        choose = random.Random(5)  # noqa: S311
        nursery.start("compaction", compact_now_and_then(backend, 20, choose))
        await crowd((backend,), told, clients=8, steps=40, seed="guarantees")
        await told.reached(await finish(backend, told), watches=4)
    history = History(told.lines)
    assert history.acknowledged > 10
    await aftermath.check(backend, history)


@pytest.mark.parametrize(("every", "behind"), [(1, 0), (2, 2)])
async def test_compaction_after_every_event_leaves_no_gap_that_is_not_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, every: int, behind: int
) -> None:
    monkeypatch.setattr(tail, "WAITING_EVENTS_MAX", 2)
    monkeypatch.setattr(logged, "READ_ROWS", 2)
    lines: list[Line] = []
    slow = [Slow(backend, lines, n) for n in range(4)]
    revisions: dict[str, int] = {}
    async with asyncio.timeout(BOUND_SECONDS):
        for step in range(18):
            key = f"/r/{step % 5}"
            revisions[key] = await write(backend, lines, key, step, revisions.get(key, 0))
            for n, watch in enumerate(slow):
                if step % (n + 1) == n:
                    await watch.read()
            if step % every == 0:
                newest = await backend.revision()
                await backend.compact(max(newest - behind, 0))
                slow.append(Slow(backend, lines, len(slow), after=newest - step % 4))
        for watch in slow:
            while watch.after < await backend.revision():
                await watch.read()
    assert any("compacted" in line for line in lines) or behind
    await aftermath.check(backend, History(lines))


async def write(backend: Backend, lines: list[Line], key: str, step: int, revision: int) -> int:
    """Create a key, update it, or delete it; return where it is then, 0: nowhere."""
    value = f"step {step}"
    kind = "create" if not revision else "update" if step % 7 else "delete"
    call = {"call": step, "kind": kind, "key": key, "expected": revision}
    lines.append(call if kind == "delete" else {**call, "value": value})
    if kind == "create":
        done = await backend.create(key, value.encode())
    elif kind == "update":
        done = await backend.update(key, value.encode(), revision=revision)
    else:
        done = await backend.delete(key, revision=revision)
    lines.append({"end": step, "how": "done", "revision": done})
    return 0 if kind == "delete" else done


class Slow:
    """A watch that takes a batch only when it is told to."""

    def __init__(self, backend: Backend, lines: list[Line], number: int, *, after: int = 0) -> None:
        self.after = after
        self._backend = backend
        self._lines = lines
        self._name = f"slow-{number}"
        self._begin()

    def _begin(self) -> None:
        self._lines.append({"watch": self._name, "prefix": "/r/", "after": self.after})
        self._watch: Any = aiter(self._backend.watch("/r/", after=self.after))

    async def read(self) -> None:
        """Take the next batch; there has to be something to come."""
        if self.after >= await self._backend.revision():
            return
        try:
            events = await anext(self._watch)
        except CompactedError as error:
            self._lines.append({"watch": self._name, "compacted": error.oldest})
            self.after = error.oldest
            self._begin()
            return
        told = [(e.key, e.value.decode(), *e[2:]) for e in events]
        self._lines.append({"watch": self._name, "events": told})
        self.after = events[-1].revision
