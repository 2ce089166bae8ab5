"""Two servers, one store: one of them schedules and controls, and the other takes over in time."""

import contextlib

from minikube_py.api.apps import REPLICASETS
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import NAMESPACES, NODES, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Key, get
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Settings
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.controllers import replicaset
from minikube_py.server.controllers.run import run_controllers
from minikube_py.server.elections import Elections
from minikube_py.server.scheduler.scheduler import run_scheduler
from tests.kubelet_model import node
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, settle, virtual

NAMES = ("kube-scheduler", "kube-controller-manager")


class Stack:
    """The scheduler and a controller of one server."""

    def __init__(self, cluster, name):
        self.name = name
        self.cluster = cluster
        clock = VirtualClock()
        self.elections = Elections(clock, rivals=True)
        self.working = set()

        async def control():
            with self.at_work("kube-controller-manager"):
                parts = (replicaset.CONTROLLER,)
                scheme = Scheme(BUILTIN)
                await run_controllers(self.client, scheme, clock, Settings(), parts)

        async def schedule():
            with self.at_work("kube-scheduler"):
                await run_scheduler(self.client("scheduler"), clock)

        self.parts = [
            self.elections.elected(name, self.client(name), work)
            for name, work in zip(NAMES, (schedule, control), strict=True)
        ]
        self.nursery = Nursery(name)
        for number, part in enumerate(self.parts):
            self.nursery.start(f"{number}", restarting(f"{number}", part))

    @contextlib.contextmanager
    def at_work(self, name):
        self.working.add(name)
        try:
            yield
        finally:
            self.working.discard(name)

    def client(self, user):
        return self.cluster.client(f"{self.name}/{user}")


@contextlib.asynccontextmanager
async def two_servers():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    await client.create(NAMESPACES, {"metadata": {"name": "d"}})
    await client.create(NODES, node("n1"))
    first, second = Stack(cluster, "a"), Stack(cluster, "b")
    try:
        await settle(5)
        assert [first.working, second.working] == [set(NAMES), set()]
        yield cluster, first, second
    finally:
        await first.nursery.cancel()
        await second.nursery.cancel()


async def scale(cluster, name, replicas=3):
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    obj = {"metadata": {"name": name, "namespace": "d"}, "spec": spec}
    await cluster.client().create(REPLICASETS, obj)


def bound(cluster):
    return [p for p in cluster.objects(PODS) if get(p, "spec.nodeName")]


@virtual
async def test_who_stops_hands_over_within_two_seconds():
    async with two_servers() as (cluster, first, second):
        await scale(cluster, "one")
        await settle(1)
        assert len(bound(cluster)) == 3
        await first.nursery.cancel()
        assert first.working == set()
        await settle(2)
        assert second.working == set(NAMES)
        await scale(cluster, "two")
        await settle(1)
        assert len(bound(cluster)) == 6


@virtual
async def test_who_dies_is_replaced_within_fifteen_seconds_and_nothing_is_made_twice():
    async with two_servers() as (cluster, first, second):
        await scale(cluster, "one")
        await settle(1)

        def cut_off(user, _verb, _resource, _obj):
            if user.startswith("a/"):
                raise ServiceUnavailableError("the network is away")

        cluster.refuse = cut_off
        await scale(cluster, "two")
        began = cluster.clock.monotonic()
        while second.working != set(NAMES):
            assert not first.working & second.working
            await settle(0.1)
            assert cluster.clock.monotonic() - began < 15
        await settle(2)
        assert first.working == set()
        assert len(bound(cluster)) == len(cluster.objects(PODS)) == 6


@virtual
async def test_a_server_without_rivals_writes_no_lease():
    cluster = ModelCluster(VirtualClock())
    elections = Elections(VirtualClock(), rivals=False)

    async def work():
        await settle(100)

    await elections.elected("kube-scheduler", cluster.client(), work)()
    assert cluster.requests == []
    assert list(elections.metrics()) == []


@virtual
async def test_leases_are_those_that_operators_know():
    async with two_servers() as (cluster, first, _):
        leases = set(cluster.table(LEASES))
        assert leases == {Key("kube-system", name) for name in NAMES}
        assert len([line for line in first.elections.metrics() if line.startswith("leader")]) == 2
