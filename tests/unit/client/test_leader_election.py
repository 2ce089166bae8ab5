"""Leader election: one works, the next takes over, and never two at a time."""

import asyncio
import contextlib
from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from minikube_py.api.coordination import LEASES
from minikube_py.api.core import EVENTS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key, get
from minikube_py.client.events import Recorder
from minikube_py.client.leader_election import (
    Contender,
    LeaderElector,
    Terms,
    metrics,
    new_identity,
)
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, run, settle, virtual

LEASE = Key("kube-system", "work")


class SkewedClock(VirtualClock):
    """Shows another wall time than the rest of the world."""

    def __init__(self, skew_seconds=0.0):
        self.skew = timedelta(seconds=skew_seconds)

    def now(self):
        return super().now() + self.skew


class Road:
    """A client whose way to the server is cut or slow, both ways."""

    def __init__(self, client):
        self._client = client
        self.cut = False
        self.seconds = 0.0

    def __getattr__(self, verb):
        async def call(*args, **more):
            await self._travel()
            answer = await getattr(self._client, verb)(*args, **more)
            await self._travel()
            return answer

        return call

    async def _travel(self):
        await asyncio.sleep(self.seconds)
        if self.cut:
            raise ServiceUnavailableError("no way to the server")


class Worker:
    """A contender, and whether it is at work."""

    def __init__(self, cluster, name, skew=0.0, wind_down=0.0):
        self.clock = SkewedClock(skew)
        self.road = Road(cluster.client(name))
        self.events = Recorder(cluster.client(name), "work", self.clock)
        contender = Contender(lease=LEASE, identity=name, client=self.road, events=self.events)
        self.elector = LeaderElector(contender, self.clock)
        self.working = False
        self.begun = 0
        self._wind_down = wind_down

    async def work(self):
        self.working = True
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self._wind_down)
            self.working = False

    async def run(self):
        async with Nursery("worker") as nursery:
            nursery.start("events", self.events.run())
            await self.elector.run(self.work)


def lease_of(cluster):
    return cluster.table(LEASES)[LEASE].obj


@contextlib.asynccontextmanager
async def contest(*skews):
    cluster = ModelCluster(VirtualClock())
    async with Nursery("test") as nursery:
        workers = [Worker(cluster, f"w{number}", skew) for number, skew in enumerate(skews)]
        tasks = [nursery.start("worker", w.run()) for w in workers]
        yield cluster, workers, tasks


@virtual
async def test_the_first_leads_and_keeps_its_lease_with_upstreams_numbers():
    async with contest(0) as (cluster, (worker,), _):
        await settle(60)
        assert worker.working
        spec = lease_of(cluster)["spec"]
        assert spec["holderIdentity"] == "w0"
        assert spec["leaseDurationSeconds"] == 15
        assert spec["leaseTransitions"] == 0
        assert spec["acquireTime"] < spec["renewTime"]
        writes = [verb for _, verb, _, key in cluster.requests if key.name in ("", "work")]
        assert 29 <= writes.count("update") <= 31


@virtual
async def test_who_stops_gives_the_lease_up_and_the_next_need_not_wait():
    async with contest(0, 0) as (cluster, (first, second), (task, _)):
        await settle(10)
        leader, other = (first, second) if first.working else (second, first)
        assert leader is first
        task.cancel()
        await settle(1e-6)  # before the other looks
        assert not leader.working
        released = lease_of(cluster)["spec"]
        assert released["holderIdentity"] == ""
        assert released["leaseDurationSeconds"] == 1
        await settle(5)
        assert other.working
        assert lease_of(cluster)["spec"]["leaseTransitions"] == 1


@virtual
async def test_a_leader_without_a_way_to_the_server_stops_before_the_next_begins():
    async with contest(0, 0) as (_, (first, second), _tasks):
        await settle(10)
        first.road.cut = True
        await settle(10.5)
        assert not first.working
        assert not second.working
        await settle(12)
        assert second.working
        first.road.cut = False
        await settle(60)
        assert second.working
        assert not first.working


@virtual
async def test_clocks_that_are_hours_apart_change_nothing():
    async with contest(0, 36_000, -36_000) as (_, workers, _tasks):
        await settle(120)
        assert [worker.begun for worker in workers] == [1, 0, 0]


@virtual
async def test_a_lease_that_others_wrote_is_awaited_from_when_it_was_first_seen():
    cluster = ModelCluster(VirtualClock())
    spec = {
        "holderIdentity": "gone",
        "leaseDurationSeconds": 40,
        "renewTime": "2020-01-01T00:00:00.000000Z",
        "acquireTime": "2020-01-01T00:00:00.000000Z",
        "leaseTransitions": 6,
    }
    metadata = {"name": "work", "namespace": "kube-system"}
    await cluster.client().create(LEASES, {"metadata": metadata, "spec": spec})
    worker = Worker(cluster, "w")
    async with Nursery("test") as nursery:
        nursery.start("worker", worker.run())
        await settle(39)
        assert not worker.working
        await settle(6)
        assert worker.working
        assert lease_of(cluster)["spec"]["leaseTransitions"] == 7


@virtual
async def test_the_lead_is_told_in_events_about_the_lease():
    async with contest(0) as (cluster, _workers, (task,)):
        await settle(1)
        told = [(e["reason"], e["message"]) for e in cluster.objects(EVENTS)]
        assert told == [("LeaderElection", "w0 became leader")]
        (event,) = cluster.objects(EVENTS)
        assert event["involvedObject"]["kind"] == "Lease"
        assert event["involvedObject"]["name"] == "work"
        assert event["source"]["component"] == "work"
        task.cancel()


@virtual
async def test_what_the_work_raises_comes_out_after_the_lease_was_given_up():
    cluster = ModelCluster(VirtualClock())
    worker = Worker(cluster, "w")

    async def fail():
        raise ValueError("no")

    with contextlib.suppress(ValueError):
        await worker.elector.run(fail)
    assert lease_of(cluster)["spec"]["holderIdentity"] == ""
    assert not worker.elector.leading


@virtual
async def test_a_lease_that_was_taken_away_ends_the_work_at_once():
    async with contest(0) as (cluster, (worker,), _):
        await settle(5)
        lease = lease_of(cluster)
        stolen = {**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}}
        await cluster.client().update(LEASES, stolen)
        await settle(3)
        assert not worker.working
        await settle(25)
        assert worker.working


@virtual
async def test_a_lease_that_was_deleted_is_made_again_without_a_pause():
    async with contest(0) as (cluster, (worker,), _):
        await settle(5)
        await cluster.client().delete(LEASES, "work", "kube-system")
        await settle(3)
        assert get(lease_of(cluster), "spec.holderIdentity") == "w0"
        assert worker.begun == 1


@virtual
async def test_a_leader_that_cannot_stop_is_not_healthy():
    cluster = ModelCluster(VirtualClock())
    worker = Worker(cluster, "w", wind_down=100)
    async with Nursery("test") as nursery:
        nursery.start("worker", worker.run())
        await settle(5)
        assert worker.elector.problem() is None
        assert 'leader_election_master_status{name="work"} 1' in list(metrics([worker.elector]))
        worker.road.cut = True
        await settle(30)
        assert worker.elector.problem() is None
        await settle(15)
        assert worker.elector.problem() == "failed election to renew leadership on lease work"


def test_an_identity_is_new_each_time_and_the_defaults_are_upstreams():
    assert new_identity() != new_identity()
    assert (Terms().lease, Terms().renew, Terms().retry) == (15, 10, 2)


ROADS = st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([0, 0.3, 2, 5, 11, 25]))


@given(
    skews=st.lists(st.integers(-100_000, 100_000), min_size=2, max_size=3),
    story=st.lists(st.tuples(ROADS, st.floats(0.1, 40)), max_size=12),
)
@example(skews=[0, 50], story=[((0, False, 0), 5.0), ((0, True, 0), 40.0)])
@example(skews=[0, 50], story=[((0, False, 0), 5.0), ((0, False, 25), 40.0)])
@settings(max_examples=60, deadline=None)
def test_never_do_two_lead_and_when_all_is_well_one_does(skews, story):
    async def body():
        async with contest(*skews) as (_, workers, _tasks):
            most = 0

            async def live(seconds):
                nonlocal most
                end = asyncio.get_running_loop().time() + seconds
                while asyncio.get_running_loop().time() < end:
                    most = max(most, sum(worker.working for worker in workers))
                    await asyncio.sleep(0.25)

            for (number, cut, slow), seconds in story:
                worker = workers[number % len(workers)]
                worker.road.cut, worker.road.seconds = cut, slow
                await live(seconds)
            for worker in workers:
                worker.road.cut, worker.road.seconds = False, 0.0
            await live(80)
            assert most <= 1
            assert sum(worker.working for worker in workers) == 1

    run(body())
