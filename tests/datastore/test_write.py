"""Several keys changed together: all of them or none, for readers, watchers and after a crash."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from minikube_py.datastore.kv import Backend, Change, RevisionMismatchError, Unchanged
from minikube_py.datastore.open import FILE, open_backend
from minikube_py.datastore.shared.database import Database
from minikube_py.datastore.shared.endpoint import database_endpoint
from tests.datastore.counted import CountedBackend


def shares_revisions(backend: Backend) -> bool:
    """Tell whether what changes together has one revision, as in etcd."""
    return isinstance(backend, CountedBackend)


LATER = ("version", "at", "author", "more")
"""Columns that the first format did not have."""


async def test_several_keys_change_together(backend: Backend) -> None:
    await backend.create("/a", b"1", lease=5)
    await backend.create("/b", b"1")
    changes = (Change("/a", None, 1), Change("/b", b"2", 2, 7), Change("/c", b"3", 0))
    assert await backend.write(changes) == 3
    a, b, c = (3, 3, 3) if shares_revisions(backend) else (3, 4, 5)
    page = await backend.list("")
    assert [item[:5] for item in page.items] == [("/b", b"2", b, 2, 7), ("/c", b"3", c, c, 0)]
    assert page.revision == c
    async with asyncio.timeout(5):
        stream = backend.watch("", after=2)
        events = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
    assert [(e.key, e.deleted, e.revision, e.version) for e in events] == [
        ("/a", True, a, 0), ("/b", False, b, 2), ("/c", False, c, 1),
    ]  # fmt: skip
    assert (events[0].value, events[0].lease) == (b"1", 5)


@pytest.mark.parametrize(
    ("changes", "unchanged", "key"),
    [
        ((Change("/x", b"", 0), Change("/a", b"", 0)), (), "/a"),
        ((Change("/x", b"", 0), Change("/a", None, 2)), (), "/a"),
        ((Change("/a", b"", 1), Change("/x", b"", 1)), (), "/x"),
        ((Change("/x", b"", 0),), (Unchanged("/b", "/b\0", 1),), "/b"),
        ((Change("/x", b"", 0),), (Unchanged("/", "/zzz", 2),), "/"),
        ((Change("/x", b"", 0),), (Unchanged("/gone", "/gone\0", 3),), "/gone"),
    ],
)
async def test_nothing_changes_where_one_condition_fails(
    backend: Backend, changes: tuple[Change, ...], unchanged: tuple[Unchanged, ...], key: str
) -> None:
    await backend.create("/a", b"")
    await backend.create("/b", b"")
    await backend.create("/gone", b"")
    await backend.delete("/gone", revision=3)
    before = await backend.list("")
    with pytest.raises(RevisionMismatchError) as refused:
        await backend.write(changes, unchanged=unchanged)
    assert refused.value.key == key
    assert await backend.list("") == before


async def test_conditions_that_hold_let_a_change_through(backend: Backend) -> None:
    await backend.create("/a", b"")
    await backend.create("/b", b"")
    conditions = (Unchanged("/a", "/a\0", 1), Unchanged("/", "0", 2), Unchanged("/n", "/n\0", 0))
    assert await backend.write((Change("/x", b"", 0),), unchanged=conditions) == 3


async def test_money_that_many_move_at_once_is_neither_made_nor_lost(backend: Backend) -> None:
    for name in "abc":
        await backend.create(f"/{name}", b"100")

    async def move(source: str, target: str) -> None:
        while True:
            giver, taker = await backend.get(source), await backend.get(target)
            assert giver is not None
            assert taker is not None
            changes = (
                Change(source, str(int(giver.value) - 1).encode(), giver.revision),
                Change(target, str(int(taker.value) + 1).encode(), taker.revision),
            )
            try:
                await backend.write(changes)
            except RevisionMismatchError:
                continue
            return

    pairs = (("/a", "/b"), ("/b", "/c"), ("/c", "/a"), ("/b", "/a"))
    await asyncio.gather(*(move(*pair) for pair in pairs for _ in range(4)))
    page = await backend.list("")
    assert sum(int(item.value) for item in page.items) == 300
    assert page.revision == 3 + (1 if shares_revisions(backend) else 2) * 16


async def test_of_two_who_want_each_other_unchanged_one_loses(backend: Backend) -> None:
    await backend.create("/a", b"")
    await backend.create("/b", b"")
    results = await asyncio.gather(
        backend.write((Change("/a", b"x", 1),), unchanged=(Unchanged("/b", "/b\0", 2),)),
        backend.write((Change("/b", b"x", 2),), unchanged=(Unchanged("/a", "/a\0", 2),)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["RevisionMismatchError", "int"]


async def test_versions_count_the_writes_since_the_creation(backend: Backend) -> None:
    revision = await backend.create("/a", b"")
    for _ in range(3):
        revision = await backend.update("/a", b"", revision=revision)
    found = await backend.get("/a")
    assert found is not None
    assert found.version == 4
    await backend.delete("/a", revision=0)
    await backend.create("/a", b"")
    assert [item.version for item in (await backend.list("/a", revision=4)).items] == [4]
    assert [item.version for item in (await backend.list("/a")).items] == [1]


async def test_a_file_of_the_first_format_is_taken_on(tmp_path: Path) -> None:
    backend = await open_backend("", data_dir=tmp_path)
    await backend.create("/a", b"")
    await backend.close()
    old = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    for column in (*LATER, "sum"):
        old.execute(f"ALTER TABLE log DROP COLUMN {column}")
    old.execute("PRAGMA user_version = 1")
    old.close()
    for version in (1, 2):
        backend = await open_backend("", data_dir=tmp_path)
        found = await backend.get("/a")
        assert found is not None
        assert found.version == version
        await backend.update("/a", b"", revision=found.revision)
        await backend.close()


async def test_tables_of_the_first_format_are_taken_on(shared: str) -> None:
    backend = await open_backend(shared, data_dir=Path("/nowhere"))
    await backend.create("/a", b"")
    await backend.close()
    database = await Database.open(database_endpoint(shared))
    async with database._engine.begin() as connection:
        for column in LATER:
            await connection.execute(text(f"ALTER TABLE kpy_log DROP COLUMN {column}"))
        await connection.execute(text("UPDATE kpy_state SET value = 1 WHERE name = 'format'"))
    await database.close()
    for version in (1, 2):
        backend = await open_backend(shared, data_dir=Path("/nowhere"))
        found = await backend.get("/a")
        assert found is not None
        assert found.version == version
        await backend.update("/a", b"", revision=found.revision)
        await backend.close()
