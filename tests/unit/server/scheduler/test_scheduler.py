"""The scheduler at work on the model: binding, waiting, failing bindings, preemption, idleness."""

import contextlib
from collections import Counter

from minikube_py.api.core import EVENTS, NODES, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key, condition_of, evolve, get
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import harness
from tests.kubelet_model import Kubelets, node
from tests.virtual_time import settle, virtual

USER = "system:kube-scheduler"


@contextlib.asynccontextmanager
async def scheduling(*nodes):
    async with harness() as world:
        world.scheduler = Scheduler(world.cluster.client(USER), world.informers, world.clock)
        world.nursery.start("scheduler", world.scheduler.run())
        world.kubelets = Kubelets(world)
        await world.kubelets.add(*nodes)
        await settle()
        yield world


async def make(world, name, cpu="", **spec):
    container = {"name": "c", "image": "i"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}
    return await world.client.create(
        PODS, {"metadata": {"name": name, "namespace": "d"}, "spec": spec}
    )


def placed(world):
    return {p["metadata"]["name"]: get(p, "spec.nodeName") for p in world.cluster.objects(PODS)}


def told(world, reason):
    events = world.cluster.objects(EVENTS)
    return [(e["involvedObject"]["name"], e["message"]) for e in events if e["reason"] == reason]


@virtual
async def test_a_pod_is_bound_and_that_is_told():
    async with scheduling(node("n1")) as world:
        await make(world, "p")
        await settle()
        assert placed(world) == {"p": "n1"}
        assert told(world, "Scheduled") == [("p", "Successfully assigned d/p to n1")]
        found = world.cluster.objects(PODS)[0]
        assert get(condition_of(found, "PodScheduled"), "status") == "True"
        (event,) = world.cluster.objects(EVENTS)
        assert event["source"] == {"component": "default-scheduler"}


@virtual
async def test_many_pods_are_counted_before_their_bindings_are_written():
    async with scheduling(node("n1"), node("n2"), node("n3")) as world:
        for number in range(12):
            await make(world, f"p{number}", "1")
        await settle()
        assert Counter(placed(world).values()) == {"n1": 4, "n2": 4, "n3": 4}


@virtual
async def test_pods_of_other_schedulers_and_deleted_ones_are_let_be():
    async with scheduling(node("n1")) as world:
        await make(world, "theirs", schedulerName="other")
        await settle(10)
        assert placed(world) == {"theirs": None}
        assert not [r for r in world.cluster.requests if r[0] == USER]


@virtual
async def test_a_pod_that_fits_nowhere_says_why_once_and_goes_when_it_can():
    async with scheduling(node("n1")) as world:
        await make(world, "big", "8")
        await settle(10)
        message = (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 Preemption is not helpful for scheduling."
        )
        assert told(world, "FailedScheduling") == [("big", message)]
        condition = condition_of(world.cluster.objects(PODS)[0], "PodScheduled")
        assert (condition["status"], condition["reason"], condition["message"]) == (
            "False",
            "Unschedulable",
            message,
        )
        patches = [r for r in world.cluster.requests if r[0] == USER and r[1] == "patch/status"]
        assert len(patches) == 1
        await world.kubelets.add(node("n2", allocatable={"cpu": "16"}))
        await settle(20)
        assert placed(world) == {"big": "n2"}


@virtual
async def test_a_cluster_without_nodes_says_so():
    async with scheduling() as world:
        await make(world, "p")
        await settle()
        assert told(world, "FailedScheduling") == [("p", "no nodes available to schedule pods")]
        await world.kubelets.add(node("n1"))
        await settle(5)
        assert placed(world) == {"p": "n1"}


@virtual
async def test_room_that_is_freed_is_used():
    async with scheduling(node("n1")) as world:
        await make(world, "first", "3")
        await settle()
        await make(world, "second", "3")
        await settle(60)
        assert placed(world)["second"] is None
        await world.client.delete(PODS, "first", "d", options={"gracePeriodSeconds": 0})
        await settle(11)
        assert placed(world) == {"second": "n1"}


@virtual
async def test_a_finished_pod_frees_its_room():
    async with scheduling(node("n1")) as world:
        await make(world, "first", "3")
        await settle()
        await make(world, "second", "3")
        done = {"status": {"phase": "Succeeded"}}
        await world.client.patch(PODS, "first", done, "d", subresource="status")
        await settle(11)
        assert placed(world)["second"] == "n1"


@virtual
async def test_a_node_that_is_uncordoned_is_used_and_one_that_goes_is_not():
    async with scheduling(node("n1", unschedulable=True)) as world:
        await make(world, "p")
        await settle()
        assert placed(world) == {"p": None}
        there = world.cluster.objects(NODES)[0]
        await world.client.update(NODES, evolve(there, "spec.unschedulable", value=None))
        await settle(0.2)  # nobody else waits
        assert placed(world) == {"p": "n1"}
        await world.client.delete(NODES, "n1")
        await make(world, "late")
        await settle(11)
        assert placed(world)["late"] is None


@virtual
async def test_gates_hold_a_pod_back_until_they_are_lifted():
    async with scheduling(node("n1")) as world:
        made = await make(world, "p", schedulingGates=[{"name": "g"}])
        await settle(600)
        assert placed(world) == {"p": None}
        assert told(world, "FailedScheduling") == []
        there = world.cluster.table(PODS)[Key("d", made["metadata"]["name"])].obj
        await world.client.update(PODS, evolve(there, "spec.schedulingGates", []))
        await settle()
        assert placed(world) == {"p": "n1"}


@virtual
async def test_a_binding_that_fails_is_tried_again_and_holds_no_room():
    refusals = []

    def refuse(user, verb, resource, obj):
        if user == USER and resource is PODS and verb == "create" and len(refusals) < 3:
            refusals.append(obj)
            raise ServiceUnavailableError("away")

    async with scheduling(node("n1")) as world:
        world.cluster.refuse = refuse
        await make(world, "p", "4")
        await settle(60)
        assert len(refusals) == 3
        assert placed(world) == {"p": "n1"}
        assert world.scheduler.cache.nodes["n1"].requested == {"cpu": 4000}


@virtual
async def test_a_pod_that_was_bound_by_somebody_else_is_counted_where_it_is():
    async with scheduling(node("n1"), node("n2")) as world:
        await make(world, "p", "1", nodeName="n2")
        await settle()
        assert world.scheduler.cache.nodes["n2"].requested == {"cpu": 1000}
        assert not [r for r in world.cluster.requests if r[0] == USER]


@virtual
async def test_an_important_pod_takes_the_place_of_a_lesser_one():
    async with scheduling(node("n1")) as world:
        world.kubelets.start()
        await make(world, "low", "3", priority=0)
        await make(world, "mid", "1", priority=5)
        await settle(10)
        made = await make(world, "high", "3", priority=10)
        await settle(0.5)
        uid = made["metadata"]["uid"]
        assert told(world, "Preempted") == [("low", f"Preempted by pod {uid} on node n1")]
        high = world.cluster.table(PODS)[Key("d", "high")].obj
        assert get(high, "status.nominatedNodeName") == "n1"
        await make(world, "thief", "3", priority=5)
        await settle(30)
        assert placed(world) == {"mid": "n1", "high": "n1", "thief": None}


@virtual
async def test_a_pod_that_may_not_preempt_waits():
    async with scheduling(node("n1")) as world:
        await make(world, "low", "4", priority=0)
        await make(world, "high", "4", priority=10, preemptionPolicy="Never")
        await settle(30)
        assert placed(world) == {"low": "n1", "high": None}
        assert told(world, "Preempted") == []


@virtual
async def test_attempts_and_waiting_pods_are_counted():
    async with scheduling(node("n1")) as world:
        await make(world, "p")
        await make(world, "big", "8")
        await settle()
        lines = list(world.scheduler._metrics.lines())
        profile = 'profile="default-scheduler"'
        assert f'scheduler_schedule_attempts_total{{{profile},result="scheduled"}} 1' in lines
        assert f'scheduler_schedule_attempts_total{{{profile},result="unschedulable"}} 1' in lines
        assert "scheduler_preemption_attempts_total 1" in lines
        assert 'scheduler_pending_pods{queue="unschedulable"} 1' in lines


@virtual
async def test_an_idle_scheduler_writes_nothing_and_waits_for_no_time():
    async with scheduling(node("n1")) as world:
        await make(world, "p")
        await settle(10)
        before = len(world.cluster.requests)
        assert world.scheduler.queue._timer is None
        await settle(100_000)
        assert world.cluster.requests[before:] == []
