"""What watches and clients of etcd are told holds while members die, stand still and elect.

The members and their order are etcd's; what is proven here is that nothing of it shows through.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from minikube_py.datastore.etcd import connection
from minikube_py.datastore.etcd.connection import Connection
from minikube_py.datastore.etcd.endpoint import etcd_endpoint
from minikube_py.datastore.kv import Backend, UnavailableError
from minikube_py.datastore.open import open_backend
from tests.datastore.anomaly.test_watched_faults import under
from tests.datastore.etcd_server import QUICK, Member, cluster, etcd

TERMS = ("--heartbeat-interval=50", "--election-timeout=500")
"""Three members on a busy machine; with shorter ones they elect all the time."""


@pytest.fixture
def member() -> Iterator[Member]:
    """A member of the test's own, which it may kill."""
    with etcd() as made:
        yield made


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Sequence[Member]]:
    """A cluster of three members."""
    with cluster(tmp_path, *TERMS) as members:
        yield members


async def opened(*members: Member) -> Backend:
    endpoint = ",".join(one.client for one in members)
    return await open_backend(endpoint, data_dir=Path("/nonexistent"))


@pytest.fixture
async def backend(three: Sequence[Member]) -> AsyncIterator[Backend]:
    made = await opened(*three)
    yield made
    await made.close()


async def leader_of(members: Sequence[Member]) -> tuple[Member, list[int]]:
    """Return the member that leads, as soon as one does, and the numbers of the others."""
    while True:
        found = [await status_of(one) for one in members]
        numbers = {number: one for one, (number, _) in zip(members, found, strict=True) if number}
        for _, leader in found:
            if leader in numbers:
                return numbers[leader], [number for number in numbers if number != leader]
        await asyncio.sleep(0.02)


async def status_of(member: Member) -> tuple[int, int]:
    """Return the number of a member and of its leader; 0, 0 where it has none or is away."""
    asked = Connection(etcd_endpoint(member.client))
    try:
        status = await asked.call("Maintenance", "Status", {})
    except UnavailableError:
        return 0, 0
    finally:
        await asked.close()
    return int(status["header"]["member_id"]), int(status.get("leader", 0))


async def test_a_member_that_is_alone_and_killed(member: Member) -> None:
    backend = await opened(member)

    async def kill() -> None:
        await asyncio.to_thread(member.kill)
        with pytest.raises(UnavailableError):
            await backend.create("/other", b"")
        await asyncio.to_thread(member.start, "", *QUICK)

    await under(backend, kill)
    await backend.close()


async def test_a_member_that_is_alone_and_stands_still(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await opened(member)
    monkeypatch.setattr(connection, "CALL_SECONDS", 0.3)

    async def stand_still() -> None:
        member.stop()
        try:
            with pytest.raises(UnavailableError):
                await backend.create("/other", b"")
        finally:
            member.stop(going_on=True)

    await under(backend, stand_still)
    await backend.close()


async def test_the_leader_of_three_members_is_killed(
    three: Sequence[Member], backend: Backend
) -> None:
    async def kill() -> None:
        leader, _ = await leader_of(three)
        await asyncio.to_thread(leader.kill)
        rest = [one for one in three if one is not leader]
        assert (await leader_of(rest))[0] is not leader
        await asyncio.to_thread(leader.start, "", *TERMS)

    await under(backend, kill)


async def test_the_leader_of_three_members_stands_still_and_goes_on_as_if_it_led(
    three: Sequence[Member], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CALL_SECONDS", 1.0)

    async def stand_still() -> None:
        leader, _ = await leader_of(three)
        leader.stop()
        try:
            await leader_of([one for one in three if one is not leader])
        finally:
            leader.stop(going_on=True)

    await under(backend, stand_still)


async def test_the_lead_goes_to_another_of_three_members(
    three: Sequence[Member], backend: Backend
) -> None:
    async def move() -> None:
        leader, (other, _) = await leader_of(three)
        done = await asyncio.to_thread(leader.ctl, "move-leader", f"{other:x}")
        assert done.returncode == 0, done.stderr
        assert (await leader_of(three))[0] is not leader

    await under(backend, move)
