"""Copies: what one store holds goes into another, and is compared there."""

from pathlib import Path

import pytest

from minikube_py.datastore.copying import copy
from minikube_py.datastore.kv import CompactedError, DatastoreError, NotEmptyError
from minikube_py.datastore.loading import Place
from tests.datastore.conftest import DATABASES, endpoint_of
from tests.datastore.etcd_server import Member

KINDS = ("sqlite", *DATABASES)


@pytest.mark.parametrize("origin", KINDS)
@pytest.mark.parametrize("goal", KINDS)
async def test_a_copy_is_what_the_original_is(
    request: pytest.FixtureRequest, tmp_path: Path, origin: str, goal: str
) -> None:
    source = Place(endpoint_of(request, origin), tmp_path / "from")
    target = Place(endpoint_of(request, goal), tmp_path / "to")
    backend = await source.open()
    for n in range(300):
        await backend.create(f"/k/{n:03}", b"\0" * n)
    await backend.delete("/k/007", revision=0)
    before, told = await backend.list(""), list[int]()
    await backend.close()
    copied = await copy(source, target, told.append)
    assert (copied.keys, copied.revision, told[-1]) == (299, before.revision, 299)
    backend = await target.open()
    assert (await backend.list("")).items == before.items
    await backend.create("/k/new", b"")
    assert [e.key for e in await anext(aiter(backend.watch("/k/", after=before.revision)))] == [
        "/k/new"
    ]
    with pytest.raises(CompactedError):
        await anext(aiter(backend.watch("/k/", after=before.revision - 1)))
    await backend.close()


async def test_what_holds_something_is_not_copied_to(tmp_path: Path) -> None:
    places = [Place(f"sqlite://{tmp_path / name}", tmp_path) for name in ("a.db", "b.db")]
    for number, place in enumerate(places):
        backend = await place.open()
        await backend.create(f"/{number}", b"")
        await backend.close()
    with pytest.raises(NotEmptyError, match="name another one"):
        await copy(*places)
    backend = await places[1].open()
    assert await backend.get("/0") is None
    await backend.close()


async def test_what_holds_nothing_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(DatastoreError, match="nothing to copy"):
        await copy(Place("", tmp_path / "a"), Place("", tmp_path / "b"))


async def test_a_copy_may_go_on_at_a_later_revision(tmp_path: Path) -> None:
    source, target = Place("", tmp_path / "a"), Place("", tmp_path / "b")
    backend = await source.open()
    await backend.create("/a", b"")
    await backend.close()
    assert (await copy(source, target, bump=1000)).revision == 1001


async def test_etcd_is_copied_from_with_its_revisions_and_to_with_new_ones(
    etcd: Member, tmp_path: Path
) -> None:
    origin = Place(etcd.endpoint(), tmp_path)
    backend = await origin.open()
    for n in range(700):
        await backend.create(f"/k/{n:03}", b"\0" * n)
    before = await backend.list("")
    await backend.close()
    between = Place("", tmp_path)
    assert (await copy(origin, between)).revision == before.revision
    backend = await between.open()
    assert (await backend.list("")).items == before.items
    await backend.close()
    goal = Place(etcd.endpoint(), tmp_path)
    assert (await copy(between, goal)).keys == 700
    with pytest.raises(NotEmptyError):
        await copy(between, goal)
    backend = await goal.open()
    found = (await backend.list("")).items
    await backend.close()
    assert [kv[:2] for kv in found] == [kv[:2] for kv in before.items]
