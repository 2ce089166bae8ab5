"""Members of etcd are killed, stand still and compact; connections are by TLS and by password."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minikube_py.datastore.etcd import backend as etcd_backend
from minikube_py.datastore.etcd import connection
from minikube_py.datastore.etcd.backend import EtcdBackend
from minikube_py.datastore.kv import (
    Backend,
    CompactedError,
    DatastoreError,
    Event,
    UnavailableError,
)
from minikube_py.datastore.open import open_backend
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles
from minikube_py.lib import authority, pki
from tests.datastore.anomaly.ledger import BOUND_SECONDS, Ledger, written
from tests.datastore.etcd_server import QUICK, Member, cluster, etcd


@pytest.fixture
def member() -> Iterator[Member]:
    """A member of the test's own, which it may kill."""
    with etcd() as made:
        yield made


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Sequence[Member]]:
    """A cluster of three members."""
    with cluster(tmp_path) as members:  # quick ones would go on electing on a busy machine
        yield members


async def opened(endpoint: str, tls: TlsFiles = NO_FILES) -> Backend:
    return await open_backend(endpoint, data_dir=Path("/nonexistent"), tls=tls)


@pytest.fixture
async def backend(member: Member) -> AsyncIterator[Backend]:
    made = await opened(member.client)
    yield made
    await made.close()


async def seen_until(watch: AsyncIterator[tuple[Event, ...]], end: int) -> list[Event]:
    seen: list[Event] = []
    async with asyncio.timeout(BOUND_SECONDS):
        while not seen or seen[-1].revision < end:
            seen += await anext(watch)
    return seen


async def check(backend: Backend, ledger: Ledger, watch: AsyncIterator[tuple[Event, ...]]) -> None:
    """Nothing acknowledged is lost, and the watch has every key once, in order.

    What clients had asked for when they were cancelled may still be written, also after the end.
    """
    end = await written(backend, "/r/end")
    items = (await backend.list("/r/")).items
    found = {item.key: item.revision for item in items if item.revision <= end}
    assert ledger.revisions.items() <= found.items()
    seen = [event.revision for event in await seen_until(watch, end)]
    assert [revision for revision in seen if revision <= end] == sorted(found.values())


async def test_what_was_acknowledged_outlives_a_killed_etcd(
    member: Member, backend: Backend
) -> None:
    ledger = Ledger(backend)
    watch = aiter(backend.watch("/r/", after=await backend.revision()))
    clients = [asyncio.ensure_future(ledger.write(n)) for n in range(4)]
    for _ in range(2):
        await ledger.grown(30)
        await asyncio.to_thread(member.kill)
        await asyncio.to_thread(member.start, "", *QUICK)
    await ledger.grown(30)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await check(backend, ledger, watch)


async def test_of_three_members_any_may_die_while_clients_write(three: Sequence[Member]) -> None:
    backend = await opened(",".join(one.client for one in three))
    ledger = Ledger(backend)
    watch = aiter(backend.watch("/r/", after=await backend.revision()))
    clients = [asyncio.ensure_future(ledger.write(n)) for n in range(4)]
    await ledger.grown(20)
    await asyncio.to_thread(three[0].kill)  # the one that the client talks to
    await ledger.grown(20)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await check(backend, ledger, watch)
    await asyncio.to_thread(three[1].kill)  # one of three is not enough
    with pytest.raises(UnavailableError):
        async with asyncio.timeout(BOUND_SECONDS):
            await backend.create("/r/nobody", b"")
    await backend.close()


async def test_an_etcd_that_stands_still_fails_requests_in_time(
    member: Member, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.create("/r/a", b"")
    monkeypatch.setattr(connection, "CALL_SECONDS", 0.3)
    member.stop()
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            with pytest.raises(UnavailableError):
                await backend.create("/r/b", b"")
            with pytest.raises(UnavailableError):
                await backend.get("/r/a")
    finally:
        member.stop(going_on=True)
    monkeypatch.undo()
    await written(backend, "/r/c")
    assert await backend.get("/r/a") is not None


async def test_a_watch_that_compaction_by_others_passed_says_so(
    member: Member, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await backend.revision()
    watch = aiter(backend.watch("/r/", after=before))
    revision = await backend.create("/r/a", b"")
    assert [event.key for event in await anext(watch)] == ["/r/a"]
    assert isinstance(backend, EtcdBackend)
    await backend._tasks.cancel()  # it hears nothing for a while
    monkeypatch.setattr(etcd_backend, "PUBLISH_SECONDS", 0.01)
    for n in range(10):
        revision = await backend.update("/r/a", str(n).encode(), revision=revision)
    assert member.ctl("compact", str(revision)).returncode == 0
    backend._tasks.start("follow", backend._follow())
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(CompactedError) as refusal:
            await anext(watch)
        assert refusal.value.oldest == revision
        with pytest.raises(CompactedError):
            await anext(aiter(backend.watch("/r/", after=revision - 1)))
        later = aiter(backend.watch("/r/", after=revision))
        end = await backend.create("/r/end", b"")
        assert [event.revision for event in await anext(later)] == [end]


async def test_answers_that_are_too_large_are_asked_for_in_parts(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MESSAGE_BYTES_MAX", 64 << 10)
    backend = await opened(member.client)
    for n in range(40):
        await backend.create(f"/r/{n:02}", bytes(8 << 10))
    page = await backend.list("/r/")
    assert [item.key for item in page.items] == [f"/r/{n:02}" for n in range(40)]
    with pytest.raises(DatastoreError):
        await backend.create("/r/huge", bytes(128 << 10))
    await backend.close()


async def test_a_transaction_of_others_is_one_batch_of_a_watch(
    member: Member, backend: Backend
) -> None:
    for n in range(5):
        await backend.create(f"/r/{n}", b"1")
    watch = aiter(backend.watch("/r/", after=await backend.revision()))
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await asyncio.to_thread(member.ctl, "del", "/r/", "--prefix")
    async with asyncio.timeout(BOUND_SECONDS):
        events = await waiting
    assert [(event.key, event.value, event.deleted) for event in events] == [
        (f"/r/{n}", b"1", True) for n in range(5)
    ]
    assert len({event.revision for event in events}) == 1


def certificates(folder: Path) -> TlsFiles:
    """Make an authority, and one certificate for the server and its clients."""
    now = datetime.now(UTC)
    ca = authority.ensure_ca(folder, "ca", "etcd-ca", now)
    subject = pki.Subject(name="etcd", alternatives=("127.0.0.1", "localhost"))
    pki.ensure_leaf(folder, "etcd", ca, subject, "both", now=now)
    return TlsFiles(str(folder / "ca.crt"), str(folder / "etcd.crt"), str(folder / "etcd.key"))


async def test_etcd_is_reached_by_tls_and_asks_who_comes(tmp_path: Path) -> None:
    files = certificates(tmp_path)
    options = (
        f"--cert-file={files.certificate}",
        f"--key-file={files.key}",
        f"--trusted-ca-file={files.ca}",
        "--client-cert-auth",
    )
    with ExitStack() as stack:
        member = stack.enter_context(etcd(options))
        backend = await opened(member.client, files)
        assert await backend.create("/a", b"") > 0
        await backend.close()
        with pytest.raises(UnavailableError, match="no member of etcd can be reached"):
            await opened(member.client.replace("https", "etcds"), TlsFiles(ca=files.ca))
        with pytest.raises(DatastoreError, match=r"/none\.crt: No such file"):
            await opened(member.client, TlsFiles(ca="/none.crt"))


async def test_a_user_of_etcd_logs_in_by_the_password_of_the_endpoint(member: Member) -> None:
    for words in (
        ("user", "add", "root:secret"),
        ("user", "grant-role", "root", "root"),
        ("auth", "enable"),
    ):
        done = member.ctl(*words)
        assert done.returncode == 0, done.stderr
    where = member.client.removeprefix("http://")
    backend = await opened(f"etcd://root:secret@{where}")
    assert await backend.create("/a", b"") > 0
    assert isinstance(backend, EtcdBackend)
    backend._connection._token = "gone"  # as after a restart of etcd
    assert await backend.get("/a") is not None
    await backend.close()
    with pytest.raises(DatastoreError) as refusal:
        await opened(f"etcd://root:wrong@{where}")
    assert "wrong" not in str(refusal.value)
