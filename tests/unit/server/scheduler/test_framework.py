"""The extension points at work: a plugin of ours at each, in a scheduler on the model."""

import contextlib

import pytest

from minikube_py.api.core import EVENTS, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import condition_of, get
from minikube_py.server.scheduler.cluster_events import Action, Registered
from minikube_py.server.scheduler.configuration import Configuration
from minikube_py.server.scheduler.framework import Help, Wait, rejection
from minikube_py.server.scheduler.plugins import FACTORIES
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import harness
from tests.kubelet_model import Kubelets, node
from tests.virtual_time import settle, virtual

USER = "system:kube-scheduler"


class Tracing:
    """Notes at which points it is asked, and says what it is told to say."""

    def __init__(self, name="Tracing", **says):
        self.name = name
        self.says = says
        self.points = []
        self.handle = None

    def made(self, handle, _):
        self.handle = handle
        return self

    def _at(self, point, cycle):
        self.points.append((point, cycle.pod.key.name))
        return self.says.get(point)

    def events_to_register(self):
        return ()

    def pre_filter(self, cycle):
        cycle.state[self.name] = "noted"
        return self._at("pre_filter", cycle)

    def filter(self, cycle):
        return self._at("filter", cycle)

    async def post_filter(self, cycle, fit):
        self._at("post_filter", cycle)
        return self.says.get("help", Help())

    def pre_score(self, cycle, nodes):
        self._at("pre_score", cycle)

    def score(self, cycle, nodes):
        self._at("score", cycle)
        favourite = self.says.get("favourite")
        return [100.0 if one.name == favourite else 0.0 for one in nodes]

    def reserve(self, cycle, node):
        assert cycle.state[self.name] == "noted"
        return self._at("reserve", cycle)

    def unreserve(self, cycle, node):
        self._at("unreserve", cycle)

    def permit(self, cycle, node):
        return self._at("permit", cycle)

    async def pre_bind(self, cycle, node):
        said = self._at("pre_bind", cycle)
        if isinstance(said, Exception):
            raise said
        return said

    async def bind(self, cycle, node):
        self._at("bind", cycle)
        return False

    def post_bind(self, cycle, node):
        self._at("post_bind", cycle)

    def of(self, pod):
        return [point for point, name in self.points if name == pod]


@contextlib.asynccontextmanager
async def scheduling(*plugins, nodes=("n1", "n2"), **enabled):
    """Run a scheduler with some more plugins; where they stand at all points but as `enabled`."""
    factories = {**FACTORIES, **{one.name: one.made for one in plugins}}
    multi = {"enabled": [{"name": one.name} for one in plugins]}
    default = {"schedulerName": "default-scheduler"}
    traced = {"schedulerName": "traced", "plugins": {"multiPoint": multi, **enabled}}
    configuration = Configuration(profiles=(default, traced), factories=factories)
    async with harness() as world:
        client = world.cluster.client(USER)
        world.scheduler = Scheduler(client, world.informers, world.clock, configuration)
        world.nursery.start("scheduler", world.scheduler.run())
        await Kubelets(world).add(*map(node, nodes))
        await settle()
        yield world


FIRST = {"bind": {"enabled": [{"name": "Tracing"}, {"name": "DefaultBinder"}]}}


async def make(world, name, scheduler="traced", **spec):
    container = {"name": "c", "image": "i"}
    spec = {"containers": [container], "schedulerName": scheduler, **spec}
    await world.client.create(PODS, {"metadata": {"name": name, "namespace": "d"}, "spec": spec})
    await settle()


def placed(world):
    return {p["metadata"]["name"]: get(p, "spec.nodeName") for p in world.cluster.objects(PODS)}


def told(world, reason="FailedScheduling"):
    events = world.cluster.objects(EVENTS)
    return [e["message"] for e in events if e["reason"] == reason]


@virtual
async def test_a_plugin_is_asked_at_each_of_its_points_in_order():
    tracing = Tracing(favourite="n2")
    async with scheduling(tracing, **FIRST) as world:
        await make(world, "p")
        assert placed(world) == {"p": "n2"}
        before = ["pre_filter", "filter", "pre_score", "score"]
        after = ["reserve", "permit", "pre_bind", "bind", "post_bind"]
        assert tracing.of("p") == [*before, *after]
        (event,) = [e for e in world.cluster.objects(EVENTS) if e["reason"] == "Scheduled"]
        assert event["source"] == {"component": "traced"}


@virtual
async def test_profiles_are_schedulers_of_their_own():
    tracing = Tracing(pre_filter=rejection("never"))
    async with scheduling(tracing) as world:
        await make(world, "ours", "traced")
        await make(world, "plain", "default-scheduler")
        assert placed(world)["ours"] is None
        assert placed(world)["plain"] is not None
        assert tracing.of("plain") == []


@virtual
async def test_what_post_filters_say_is_in_the_event():
    tracing = Tracing(pre_filter=rejection("not today"), help=Help("tracing: cannot help"))
    async with scheduling(tracing) as world:
        await make(world, "p")
        (message,) = told(world)
        assert message.startswith("0/2 nodes are available: not today. ")
        assert message.endswith("tracing: cannot help")


@virtual
async def test_a_nomination_of_a_post_filter_is_written():
    said = Help(node="n2", done=True)
    tracing = Tracing(filter=lambda _: rejection("full"), help=said)
    ours = {"disabled": [{"name": "*"}], "enabled": [{"name": "Tracing"}]}
    async with scheduling(tracing, postFilter=ours) as world:
        await make(world, "p")
        (pod,) = world.cluster.objects(PODS)
        assert get(pod, "status.nominatedNodeName") == "n2"
        assert world.scheduler.cache.nominated.get(pod["metadata"]["uid"]).node == "n2"


@virtual
async def rejected_late(point):
    first = Tracing("First")
    tracing = Tracing(**{point: rejection("changed my mind")})
    async with scheduling(first, tracing) as world:
        await make(world, "p")
        assert placed(world) == {"p": None}
        assert told(world) == ["0/1 nodes are available: 1 changed my mind."]
        (pod,) = world.cluster.objects(PODS)
        assert condition_of(pod, "PodScheduled")["reason"] == "Unschedulable"
        assert "unreserve" in first.of("p")
        assert all(not one.pods for one in world.scheduler.cache.nodes.values())


@pytest.mark.parametrize("point", ["reserve", "permit", "pre_bind"])
def test_a_pod_that_is_rejected_late_gives_everything_back(point):
    rejected_late(point)


class Touchy(Tracing):
    """Rejects late, and says that every pod that goes may help."""

    def events_to_register(self):
        return [Registered(PODS, Action.DELETE)]


@virtual
async def test_a_rejected_pods_own_end_is_no_help_to_it():
    touchy = Touchy("Touchy", permit=rejection("no"))
    async with scheduling(touchy) as world:
        await make(world, "p")
        await settle(100)
        assert touchy.of("p").count("permit") == 1


@virtual
async def test_pods_that_disturb_each_other_do_not_run_hot():
    touchy = Touchy("Touchy", permit=rejection("no"))
    async with scheduling(touchy) as world:
        await make(world, "p")
        await make(world, "q")
        await settle(10)
        assert touchy.of("p").count("permit") <= 101


@virtual
async def test_an_error_before_binding_is_tried_again_after_a_while():
    tracing = Tracing(pre_bind=ServiceUnavailableError("away"))
    async with scheduling(tracing) as world:
        await make(world, "p")
        assert placed(world) == {"p": None}
        (pod,) = world.cluster.objects(PODS)
        assert condition_of(pod, "PodScheduled")["reason"] == "SchedulerError"
        assert tracing.of("p")[-2:] == ["pre_bind", "unreserve"]
        tracing.says = {}
        await settle(1.1)
        assert placed(world)["p"] is not None


@virtual
async def test_a_pod_waits_until_it_is_allowed():
    tracing = Tracing(permit=Wait(60))
    async with scheduling(tracing) as world:
        await make(world, "p")
        await settle(30)
        assert placed(world) == {"p": None}
        (waiting,) = world.scheduler.waiting.all()
        assert list(waiting.pending()) == ["Tracing"]
        assert sum(len(one.pods) for one in world.scheduler.cache.nodes.values()) == 1
        waiting.allow("Tracing")
        await settle()
        assert placed(world)["p"] is not None
        assert list(world.scheduler.waiting.all()) == []


@virtual
async def test_a_pod_that_waits_too_long_is_rejected():
    tracing = Tracing(permit=Wait(60))
    async with scheduling(tracing) as world:
        await make(world, "p")
        await settle(61)
        assert told(world) == [
            '0/1 nodes are available: 1 rejected due to timeout after waiting at plugin "Tracing".'
        ]
        assert "unreserve" in tracing.of("p")
        assert all(not one.pods for one in world.scheduler.cache.nodes.values())


@virtual
async def test_a_waiting_victim_is_rejected_and_not_deleted():
    tracing = Tracing(permit=Wait(600))
    async with scheduling(tracing, nodes=("n1",)) as world:
        port = [{"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 1}]}]
        await make(world, "victim", priority=1, containers=port)
        await make(world, "better", "default-scheduler", priority=9, containers=port)
        await settle(15)
        assert placed(world) == {"victim": None, "better": "n1"}
        assert "0/1 nodes are available: 1 preempted." in told(world)
        assert told(world, "Preempted")


@virtual
async def test_where_nobody_binds_that_is_told():
    lazy = {"disabled": [{"name": "*"}], "enabled": [{"name": "Tracing"}]}
    async with scheduling(Tracing(), bind=lazy) as world:
        await make(world, "p")
        assert placed(world) == {"p": None}
        assert told(world) == ["no bind plugin took pod d/p"]
