"""An order explains what clients of a store are told, and the checker knows what none explains."""

import asyncio
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import open_backend
from tests.datastore.proof.clients import crowd
from tests.datastore.proof.history import History, Line, Shown
from tests.datastore.proof.linearizability import NotLinearizableError, check


def call(number: int, kind: str, value: str = "", expected: int = 0) -> Line:
    return {"call": number, "kind": kind, "key": "k", "value": value, "expected": expected}


def done(number: int, revision: int) -> Line:
    return {"end": number, "how": "done", "revision": revision}


def refused(number: int) -> Line:
    return {"end": number, "how": "refused"}


def shown(number: int, revision: int = 0, value: str = "") -> Line:
    items = {"k": (revision, value)} if revision else {}
    return {"end": number, "how": "done", "shown": items}


def listed(number: int, at: int, revision: int = 0, value: str = "") -> Line:
    return {**shown(number, revision, value), "revision": at}


CREATED = (call(1, "create", "a"), done(1, 1))
GOOD = {
    "one after the other": (
        *CREATED,
        call(2, "update", "b", 1),
        done(2, 2),
        call(3, "get"),
        shown(3, 2, "b"),
        call(4, "delete", expected=2),
        done(4, 3),
        call(5, "get"),
        shown(5),
    ),
    "a read beside a write shows what was before it": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "get"),
        shown(3, 1, "a"),
        done(2, 2),
    ),
    "a read beside a write shows it": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "get"),
        shown(3, 2, "b"),
        done(2, 2),
    ),
    "of two rivals one is refused": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "update", "c", 1),
        refused(2),
        done(3, 2),
    ),
    "a write without an end counts": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "get"),
        shown(3, 1, "a"),
        call(4, "get"),
        shown(4, 2, "b"),
    ),
    "a write without an end does not count": (
        *CREATED,
        call(2, "update", "b", 1),
        {"end": 2, "how": "unknown"},
        call(3, "update", "c", 1),
        done(3, 2),
    ),
    "a delete without an end explains a second create": (
        *CREATED,
        call(2, "delete"),
        call(3, "create", "c"),
        done(3, 3),
    ),
    "a list shows what a write beside it left": (
        *CREATED,
        call(2, "delete"),
        call(3, "list"),
        listed(3, 2),
        done(2, 2),
    ),
}
BAD = {
    "a stale read": (
        *CREATED,
        call(2, "update", "b", 1),
        done(2, 2),
        call(3, "get"),
        shown(3, 1, "a"),
    ),
    "a stale list": (
        *CREATED,
        call(2, "update", "b", 1),
        done(2, 2),
        call(3, "list"),
        listed(3, 1, 1, "a"),
    ),
    "a list that shows an old key at a new revision": (
        *CREATED,
        call(2, "update", "b", 1),
        done(2, 2),
        call(3, "list"),
        listed(3, 2, 1, "a"),
    ),
    "a read that goes back": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "get"),
        shown(3, 2, "b"),
        call(4, "get"),
        shown(4, 1, "a"),
        done(2, 2),
    ),
    "a lost write": (*CREATED, call(2, "get"), shown(2)),
    "a lost write, and another takes its place": (*CREATED, call(2, "create", "b"), done(2, 2)),
    "both rivals win": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "update", "c", 1),
        done(2, 2),
        done(3, 3),
    ),
    "both creators win": (call(1, "create", "a"), call(2, "create", "b"), done(1, 1), done(2, 2)),
    "one is refused for a rival that there was not": (
        *CREATED,
        call(2, "update", "b", 1),
        refused(2),
    ),
    "a create is refused for a key that is not there": (call(1, "create", "a"), refused(1)),
    "a value that nobody wrote": (*CREATED, call(2, "get"), shown(2, 2, "z")),
    "a revision that nobody gave": (*CREATED, call(2, "get"), shown(2, 7, "a")),
    "a revision twice": (
        *CREATED,
        call(2, "delete"),
        done(2, 2),
        call(3, "create", "b"),
        done(3, 2),
    ),
    "a revision that goes back": (
        {**call(1, "create", "a"), "key": "other"},
        done(1, 5),
        call(2, "create", "b"),
        done(2, 4),
    ),
    "a write that was without an end is taken back": (
        *CREATED,
        call(2, "update", "b", 1),
        call(3, "get"),
        shown(3, 2, "b"),
        call(4, "update", "c", 1),
        done(4, 3),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_order_is_found_where_there_is_one(name: str) -> None:
    check(History(GOOD[name]))


@pytest.mark.parametrize("name", BAD)
def test_refused_is(name: str) -> None:
    with pytest.raises(NotLinearizableError):
        check(History(BAD[name]))


def test_what_was_there_before_counts() -> None:
    start = {"k": Shown(3, "old")}
    check(History((call(1, "get"), shown(1, 3, "old"))), start)
    with pytest.raises(NotLinearizableError):
        check(History((call(1, "get"), shown(1))), start)
    with pytest.raises(NotLinearizableError):
        check(History((call(1, "list"), listed(1, 5))), start)


async def test_clients_side_by_side_are_told_what_an_order_explains(backend: Backend) -> None:
    lines: list[Line] = []
    await crowd((backend,), lines.append, clients=12, steps=50, seed="crowd")
    history = History(lines)
    assert sum(op.ended == "done" and op.kind == "update" for op in history.operations) > 10
    assert any(op.ended == "refused" and op.kind == "update" for op in history.operations)
    check(history)


async def test_clients_of_several_servers_are_told_what_an_order_explains(shared: str) -> None:
    backends = tuple([await open_backend(shared, data_dir=Path("/nonexistent")) for _ in range(3)])
    lines: list[Line] = []
    await crowd(backends, lines.append, clients=9, steps=40, seed="servers")
    await asyncio.gather(*(backend.close() for backend in backends))
    check(History(lines))
