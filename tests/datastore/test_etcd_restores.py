"""etcd is filled with what a snapshot holds, and its revision is later than all that were told."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from minikube_py.datastore.etcd import raising
from minikube_py.datastore.kv import (
    CompactedError,
    DatastoreError,
    KeyValue,
    NotEmptyError,
)
from minikube_py.datastore.loading import BUMP, BUMP_BY_WRITES, RAISED, Place, check, load
from tests.datastore.etcd_server import QUICK, Member, etcd

OLD = 70_000
"""The revision of the snapshot."""
KEYS = [
    KeyValue(f"/registry/{n:04}", b"v" * n, OLD - n // 2, 7, 0, 3) for n in range(300)
]  # two each share a revision, as after a transaction


@pytest.fixture
def member() -> Iterator[Member]:
    """A member of the test's own, whose revision it raises."""
    with etcd() as made:
        yield made


async def pages() -> AsyncIterator[Sequence[KeyValue]]:
    for start in range(0, len(KEYS), 64):
        yield KEYS[start : start + 64]


async def check_watches(place: Place, revision: int) -> None:
    """Check that who watches from an earlier revision is told, and that watches go on."""
    backend = await place.open()
    try:
        for earlier in (1, revision // 2, revision - 1):
            with pytest.raises(CompactedError):
                await anext(aiter(backend.watch("", after=earlier)))
        watch = aiter(backend.watch("", after=revision))
        assert await backend.create("/registry/new", b"") == revision + 1
        assert [event.key for event in await anext(watch)] == ["/registry/new"]
    finally:
        await backend.close()


async def test_a_new_etcd_begins_with_keys_and_revisions_of_a_snapshot(tmp_path: Path) -> None:
    place = Place(f"etcd-snapshot://{tmp_path / 'etcd.db'}", tmp_path)
    assert place.bump == BUMP
    written = await load(place, pages(), OLD + BUMP)
    assert await check(place, written, OLD + BUMP) == OLD + BUMP
    with pytest.raises(DatastoreError, match=r"cannot write .*file exists"):
        await load(place, pages(), OLD + BUMP)
    member = Member(tmp_path)
    restore(tmp_path / "etcd.db", member)
    try:
        member.start("", *QUICK)
        await_answer(member)
        there = Place(member.client, tmp_path)
        backend = await there.open()
        assert list((await backend.list("")).items) == KEYS
        await backend.close()
        await check_watches(there, OLD + BUMP)
    finally:
        member.kill()


def restore(snapshot: Path, member: Member) -> None:
    etcdctl = shutil.which("etcdctl")
    assert etcdctl is not None
    subprocess.run(
        [
            etcdctl, "snapshot", "restore", str(snapshot), f"--data-dir={member.folder / 'data'}",
            f"--name={member.name}", f"--initial-cluster={member.name}={member.peer}",
            f"--initial-advertise-peer-urls={member.peer}",
        ],
        env={"ETCDCTL_API": "3"},
        capture_output=True,
        check=True,
        timeout=60,
    )  # fmt: skip


def await_answer(member: Member) -> None:
    """Return once a member answers; nothing is written to it."""
    while member.ctl("get", "nothing").returncode:
        assert member.runs(), (member.folder / "log").read_text()


async def test_a_damaged_snapshot_of_etcd_is_noticed(tmp_path: Path) -> None:
    place = Place(f"etcd-snapshot://{tmp_path / 'etcd.db'}", tmp_path)
    written = await load(place, pages(), OLD)
    data = bytearray((tmp_path / "etcd.db").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "etcd.db").write_bytes(data)
    with pytest.raises(DatastoreError, match="is not what was written"):
        await check(place, written, OLD)


async def test_an_etcd_that_runs_goes_on_after_all_revisions_that_were_told(
    member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raising, "COMPACT_EVERY", 300)
    place, goal = Place(member.endpoint(), tmp_path), 1500
    assert place.bump == BUMP_BY_WRITES
    member.ctl("put", RAISED, "")  # of a restore that was cut off
    written = await load(place, pages(), goal)
    revision = await check(place, written, goal)
    assert revision > goal
    backend = await place.open()
    found = (await backend.list("")).items
    assert [kv[:2] for kv in found] == [kv[:2] for kv in KEYS]
    assert min(kv.create_revision for kv in found) > goal
    await backend.close()
    await check_watches(place, revision)
    with pytest.raises(NotEmptyError):
        await load(place, pages(), goal)


async def test_what_takes_too_many_writes_is_refused_with_a_way_out(
    member: Member, tmp_path: Path
) -> None:
    place = Place(member.endpoint(), tmp_path)
    with pytest.raises(DatastoreError, match="name etcd-snapshot://PATH instead"):
        await load(place, pages(), OLD + BUMP)
    backend = await place.open()
    assert not (await backend.list("")).items
    await backend.close()
