"""Preemption at work on the model: who is told and deleted, who waits, and what may fail."""

import contextlib

import pytest

from minikube_py.api.core import EVENTS, NODES, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key, condition_of, get
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.server.scheduler.plugins.default_preemption import DefaultPreemption
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import harness
from tests.kubelet_model import Kubelets, node
from tests.unit.server.scheduler.builders import handle
from tests.virtual_time import settle, virtual

USER = "system:kube-scheduler"


@contextlib.asynccontextmanager
async def scheduling(*nodes, kubelets=True):
    async with harness() as world:
        client = world.cluster.client(USER)
        world.scheduler = Scheduler(client, world.informers, world.clock)
        world.nursery.start("scheduler", world.scheduler.run())
        world.kubelets = Kubelets(world)
        if kubelets:
            world.kubelets.start()
        await world.kubelets.add(*map(node, nodes))
        await settle()
        yield world


async def make(world, name, cpu, priority, labels=None, **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 30, **spec}
    metadata = {"name": name, "namespace": "d", "labels": labels or {}}
    made = {"metadata": metadata, "spec": {**spec, "priority": priority}}
    found = await world.client.create(PODS, made)
    await settle(3)
    return found


def pod(world, name):
    item = world.cluster.table(PODS).get(Key("d", name))
    return None if item is None else item.obj


def told(world, reason):
    return [e["message"] for e in world.cluster.objects(EVENTS) if e["reason"] == reason]


def deletions(world):
    return [
        key.name
        for user, verb, _, key in world.cluster.requests
        if (user, verb) == (USER, "delete")
    ]


@virtual
async def test_a_victim_is_told_why_and_its_grace_is_waited_for():
    async with scheduling("n1", kubelets=False) as world:
        await make(world, "low", "4", 1)
        high = await make(world, "high", "4", 9)
        victim = pod(world, "low")
        condition = condition_of(victim, "DisruptionTarget")
        assert (condition["status"], condition["reason"]) == ("True", "PreemptionByScheduler")
        assert condition["message"] == (
            "default-scheduler: preempting to accommodate a higher priority pod"
        )
        assert victim["metadata"]["deletionGracePeriodSeconds"] == 30
        assert told(world, "Preempted") == [
            f"Preempted by pod {high['metadata']['uid']} on node n1"
        ]
        assert get(pod(world, "high"), "status.nominatedNodeName") == "n1"
        assert get(pod(world, "high"), "spec.nodeName") is None
        await world.client.delete(PODS, "low", "d", options={"gracePeriodSeconds": 0})
        await settle()
        assert get(pod(world, "high"), "spec.nodeName") == "n1"
        assert deletions(world) == ["low"]


@virtual
async def test_while_victims_terminate_nobody_else_is_evicted():
    async with scheduling("n1", "n2", kubelets=False) as world:
        await make(world, "a", "4", 1, nodeName="n1")
        await make(world, "b", "4", 2, nodeName="n2")
        await make(world, "high", "4", 9)
        await world.kubelets.add(node("n3", allocatable={"cpu": "1"}))
        await world.client.patch(PODS, "high", {"metadata": {"labels": {"x": "y"}}}, "d")
        await settle(400)
        assert deletions(world) == ["a"]
        message = told(world, "FailedScheduling")[-1]
        assert message.endswith(
            "preemption: not eligible due to a terminating pod on the nominated node."
        )


@virtual
async def test_budgets_are_kept_where_they_can_be():
    async with scheduling("n1", "n2") as world:
        await make(world, "kept", "4", 1, {"app": "web"}, nodeName="n1")
        await make(world, "other", "4", 5, nodeName="n2")
        budget = {
            "metadata": {"name": "b", "namespace": "d"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptionsAllowed": 0},
        }
        await world.client.create(PODDISRUPTIONBUDGETS, budget)
        await settle()
        await make(world, "high", "4", 9)
        assert deletions(world) == ["other"]


@virtual
async def test_a_less_important_pod_that_waits_there_looks_elsewhere():
    async with scheduling("n1", kubelets=False) as world:
        await make(world, "low", "4", 1, nodeName="n1")
        await make(world, "mid", "4", 5)
        assert get(pod(world, "mid"), "status.nominatedNodeName") == "n1"
        await make(world, "high", "4", 9)
        assert get(pod(world, "high"), "status.nominatedNodeName") == "n1"
        assert get(pod(world, "mid"), "status.nominatedNodeName") is None
        assert deletions(world) == ["low"]


@virtual
async def test_a_victim_that_cannot_be_deleted_is_tried_again():
    refusals = []

    def refuse(user, verb, resource, _):
        if user == USER and verb == "delete" and len(refusals) < 2:
            refusals.append(resource)
            raise ServiceUnavailableError("away")

    async with scheduling("n1") as world:
        world.cluster.refuse = refuse
        await make(world, "low", "4", 1)
        await make(world, "high", "4", 9)
        await settle(120)
        assert len(refusals) == 2
        assert get(pod(world, "high"), "spec.nodeName") == "n1"


@virtual
async def test_where_no_victim_helps_an_earlier_nomination_is_taken_back():
    async with scheduling("n1", kubelets=False) as world:
        await make(world, "low", "4", 1, nodeName="n1")
        await make(world, "high", "4", 9)
        assert get(pod(world, "high"), "status.nominatedNodeName") == "n1"
        cordon = {"spec": {"unschedulable": True}}
        await world.client.patch(NODES, "n1", cordon)
        await settle(400)
        assert get(pod(world, "high"), "status.nominatedNodeName") is None
        assert len(world.scheduler.cache.nominated) == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"minCandidateNodesPercentage": -1}, "minCandidateNodesPercentage: Invalid value: -1"),
        ({"minCandidateNodesAbsolute": -1}, "minCandidateNodesAbsolute: Invalid value: -1"),
        (
            {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0},
            "cannot both be zero",
        ),
    ],
)
def test_how_many_candidates_are_compared_is_checked(args, said):
    with pytest.raises(ValueError, match=said):
        DefaultPreemption(handle(), args)
