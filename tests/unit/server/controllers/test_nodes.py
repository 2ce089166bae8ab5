"""Nodes that fall silent, pods that have to leave them, pods that nobody cleans up."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.apps import REPLICASETS
from minikube_py.api.core import EVENTS, NODES, PODS
from minikube_py.api.object import Key, condition_of, evolve, get, is_deleting
from minikube_py.api.taints import taints_of
from minikube_py.server.controllers import node_lifecycle, pod_gc, replicaset, taint_eviction
from minikube_py.server.controllers.node_lifecycle import plan_taints, wanted_taints
from minikube_py.server.controllers.taint_eviction import due_time
from tests.harness import harness
from tests.kubelet_model import Kubelets, node
from tests.unit.server.controllers.builders import NOW, pod
from tests.virtual_time import settle, virtual

SPEC = {"containers": [{"name": "c", "image": "i"}]}


def keys(found):
    return sorted((taint["key"].split("/")[1], taint["effect"]) for taint in taints_of(found))


def one(world, resource=NODES):
    return world.cluster.objects(resource)[0]


async def with_nodes(world, *names, **more):
    kubelets = Kubelets(world)
    kubelets.start()
    await kubelets.add(*(node(name, **more) for name in names))
    return kubelets


async def with_node(world, **more):
    """Run a node, and another one that never falls silent."""
    return await with_nodes(world, "n1", "n2", **more)


def told(world):
    return [
        (e["reason"], e["message"])
        for e in world.cluster.objects(EVENTS)
        if e["reason"] != "RegisteredNode"
    ]


@virtual
async def test_a_node_that_renews_its_lease_is_left_alone():
    async with harness() as world:
        world.run(node_lifecycle.CONTROLLER)
        await with_node(world)
        await settle(3600)
        assert get(condition_of(one(world), "Ready"), "status") == "True"
        written = [r for r in world.cluster.requests if r[0] == "node-controller"]
        assert {resource for _, _, resource, _ in written} == {"events"}
        registered = [event["message"] for event in world.cluster.objects(EVENTS)]
        assert registered[0] == "Node n1 event: Registered Node n1 in Controller"


@virtual
async def test_a_silent_node_is_unknown_after_its_grace_and_tainted():
    async with harness(node_monitor_grace_seconds=40) as world:
        world.run(node_lifecycle.CONTROLLER)
        kubelets = await with_node(world)
        await settle(100.5)
        kubelets.silent.add("n1")
        await settle(39)
        assert taints_of(one(world)) == []
        await settle(1)
        found = one(world)
        ready = condition_of(found, "Ready")
        assert (ready["status"], ready["reason"], ready["message"]) == (
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
        assert condition_of(found, "DiskPressure")["reason"] == "NodeStatusNeverUpdated"
        assert keys(found) == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]
        assert told(world) == [("NodeNotReady", "Node n1 status is now: NodeNotReady")]


@pytest.mark.parametrize("days", [-400, 400])
@virtual
async def test_a_node_whose_clock_is_wrong_is_alive_as_long_as_it_speaks(days):
    async with harness(node_monitor_grace_seconds=40) as world:
        world.run(node_lifecycle.CONTROLLER)
        kubelets = Kubelets(world, apart=timedelta(days=days))
        kubelets.start()
        await kubelets.add(node("n1"), node("n2"))
        await settle(3600.5)
        assert get(condition_of(one(world), "Ready"), "status") == "True"
        assert taints_of(one(world)) == []
        kubelets.silent.add("n1")
        await settle(41)
        assert get(condition_of(one(world), "Ready"), "status") == "Unknown"
        kubelets.silent.clear()
        await settle(41)
        assert get(condition_of(one(world), "Ready"), "status") == "True"
        assert taints_of(one(world)) == []


@virtual
async def test_pods_of_a_silent_node_are_not_ready():
    async with harness() as world:
        world.run(node_lifecycle.CONTROLLER)
        kubelets = await with_node(world)
        metadata = {"name": "p", "namespace": "d"}
        await world.client.create(PODS, {"metadata": metadata, "spec": {**SPEC, "nodeName": "n1"}})
        await settle(30)
        assert get(condition_of(one(world, PODS), "Ready"), "status") == "True"
        kubelets.silent.add("n1")
        await settle(100)
        assert get(condition_of(one(world, PODS), "Ready"), "status") == "False"


@virtual
async def test_when_all_nodes_fall_silent_nobody_is_driven_off():
    async with harness() as world:
        world.run(node_lifecycle.CONTROLLER)
        kubelets = await with_nodes(world, "n1", "n2")
        await settle(20)
        kubelets.silent.update(("n1", "n2"))
        await settle(200)
        for found in world.cluster.objects(NODES):
            assert keys(found) == [("unreachable", "NoSchedule")]
        await world.client.create(NODES, node("n3"))
        await settle(30)
        given_up = [keys(found) for found in world.cluster.objects(NODES)]
        assert given_up.count([("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]) == 2


@virtual
async def test_a_node_that_is_not_ready_by_its_own_word_keeps_its_pods_as_they_are():
    async with harness() as world:
        world.run(node_lifecycle.CONTROLLER)
        await with_nodes(world, "n2")
        await world.client.create(NODES, evolve(node("n1"), "metadata.labels", {}))
        await make_pod(world, "p")
        ready = {
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        }
        await world.client.patch(PODS, "p", ready, "d", subresource="status")
        await settle(1)
        status = node("n1")["status"]
        status["conditions"][0]["status"] = "False"
        await world.client.patch(NODES, "n1", {"status": status}, subresource="status")
        await settle(5)
        found = world.cluster.table(NODES)[Key("", "n1")].obj
        assert keys(found) == [("not-ready", "NoExecute"), ("not-ready", "NoSchedule")]
        assert get(condition_of(one(world, PODS), "Ready"), "status") == "True"
        assert told(world) == []


@virtual
async def test_a_node_that_comes_back_loses_its_taints():
    async with harness() as world:
        world.run(node_lifecycle.CONTROLLER)
        kubelets = await with_node(world)
        kubelets.silent.add("n1")
        await settle(100)
        assert taints_of(one(world))
        kubelets.silent.clear()
        await settle(11)
        await world.client.patch(
            NODES, "n1", {"status": node("n1")["status"]}, subresource="status"
        )
        await settle()
        assert taints_of(one(world)) == []
        await settle(1000)
        assert taints_of(one(world)) == []


def test_conditions_and_cordons_are_taints():
    found = node("n1", unschedulable=True)
    found["status"]["conditions"] += [
        {"type": "MemoryPressure", "status": "True"},
        {"type": "DiskPressure", "status": "False"},
    ]
    assert {key.split("/")[1] for key, _ in wanted_taints(found)} == {
        "memory-pressure",
        "unschedulable",
    }
    not_ready = node("n1")
    not_ready["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    assert sorted(effect for _, effect in wanted_taints(not_ready)) == ["NoExecute", "NoSchedule"]


def test_taints_of_others_are_kept_and_a_second_look_writes_nothing():
    foreign = {"key": "team", "value": "a", "effect": "NoSchedule"}
    stale = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    (update,) = plan_taints(node("n1", taints=[foreign, stale], unschedulable=True), "now")
    kept = taints_of(update.obj)
    assert [taint["key"] for taint in kept] == ["team", "node.kubernetes.io/unschedulable"]
    assert list(plan_taints(update.obj, "later")) == []


def tainted(*taints):
    return node("n1", taints=[{"effect": "NoExecute", **taint} for taint in taints])


def tolerating(*tolerations):
    return pod("p", spec={"tolerations": list(tolerations)})


EVERYTHING = {"operator": "Exists"}


def seconds(found, one_node):
    due = due_time(found, one_node, NOW)
    return None if due is None else (due - NOW).total_seconds()


def test_an_untolerated_taint_evicts_at_once_and_no_taint_never():
    assert seconds(tolerating(), tainted({"key": "a"})) == 0
    assert seconds(tolerating(), node("n1")) is None
    assert seconds(tolerating({**EVERYTHING, "key": "a"}), tainted({"key": "a"}, {"key": "b"})) == 0


def test_a_toleration_without_a_time_holds_for_ever():
    assert seconds(tolerating(EVERYTHING), tainted({"key": "a"})) is None


@given(limits=st.lists(st.integers(-5, 600), min_size=1, max_size=4))
def test_the_shortest_tolerated_time_counts_from_the_taint(limits):
    found = tolerating(*({**EVERYTHING, "key": "a", "tolerationSeconds": n} for n in limits))
    since = "2026-01-01T11:59:00Z"
    expected = max(min(limits), 0) - 60
    assert seconds(found, tainted({"key": "a", "timeAdded": since})) == expected


def test_a_pod_that_came_later_has_its_time_from_then():
    limit = {**EVERYTHING, "key": "a", "tolerationSeconds": 300}
    bound = {"type": "PodScheduled", "status": "True"}
    late = pod(
        "p",
        spec={"tolerations": [limit]},
        conditions=[{**bound, "lastTransitionTime": "2026-01-01T12:00:00Z"}],
    )
    found = tainted({"key": "a", "timeAdded": "2026-01-01T11:00:00Z"})
    assert seconds(late, found) == 300


async def make_pod(world, name, limit=None, **spec):
    toleration = {"operator": "Exists", "key": "test/out", "effect": "NoExecute"}
    tolerations = [] if limit is None else [{**toleration, "tolerationSeconds": limit}]
    spec = {**SPEC, "nodeName": "n1", "tolerations": tolerations, **spec}
    await world.client.create(PODS, {"metadata": {"name": name, "namespace": "d"}, "spec": spec})


@virtual
async def test_pods_leave_a_tainted_node_when_their_time_is_over():
    async with harness() as world:
        world.run(taint_eviction.CONTROLLER)
        await world.client.create(NODES, node("n1"))
        await make_pod(world, "now")
        await make_pod(world, "later", 60)
        await settle(10)
        taint = {"key": "test/out", "effect": "NoExecute", "timeAdded": world.cluster.now()}
        await world.client.update(NODES, evolve(one(world), "spec.taints", [taint]))
        await settle(1)
        going = {p["metadata"]["name"] for p in world.cluster.objects(PODS) if is_deleting(p)}
        assert going == {"now"}
        await settle(60)
        going = {p["metadata"]["name"] for p in world.cluster.objects(PODS) if is_deleting(p)}
        assert going == {"now", "later"}
        (condition,) = {
            condition_of(p, "DisruptionTarget")["reason"] for p in world.cluster.objects(PODS)
        }
        assert condition == "DeletionByTaintManager"
        messages = {event["message"] for event in world.cluster.objects(EVENTS)}
        assert messages == {
            "Marking for deletion Pod d/now",
            "Marking for deletion Pod d/later",
        }


@virtual
async def test_a_taint_that_does_not_say_when_it_came_counts_from_when_it_is_seen():
    async with harness() as world:
        world.run(taint_eviction.CONTROLLER)
        await world.client.create(NODES, node("n1"))
        await make_pod(world, "p", 60)
        taint = {"key": "test/out", "effect": "NoExecute"}
        await world.client.update(NODES, evolve(one(world), "spec.taints", [taint]))
        await settle(59)
        assert not is_deleting(one(world, PODS))
        await settle(2)
        assert is_deleting(one(world, PODS))


@virtual
async def test_a_pod_whose_node_loses_the_taint_in_time_stays():
    async with harness() as world:
        world.run(taint_eviction.CONTROLLER)
        await world.client.create(NODES, node("n1"))
        await make_pod(world, "p", 60)
        taint = {"key": "test/out", "effect": "NoExecute", "timeAdded": world.cluster.now()}
        await world.client.update(NODES, evolve(one(world), "spec.taints", [taint]))
        await settle(30)
        await world.client.update(NODES, evolve(one(world), "spec.taints", []))
        await settle(100)
        assert not is_deleting(one(world, PODS))
        (event,) = world.cluster.objects(EVENTS)
        assert event["reason"] == "TaintManagerEviction"
        assert event["message"] == "Cancelling deletion of Pod d/p"


@virtual
async def test_pods_of_a_node_that_is_gone_go_after_a_while():
    async with harness() as world:
        world.run(pod_gc.CONTROLLER)
        await world.client.create(NODES, node("n1"))
        await make_pod(world, "p")
        await settle(10)
        await world.client.delete(NODES, "n1")
        await settle(39)
        assert len(world.cluster.objects(PODS)) == 1
        await settle(2)
        assert world.cluster.objects(PODS) == []


@virtual
async def test_a_pod_that_is_to_go_and_is_on_no_node_goes():
    async with harness() as world:
        world.run(pod_gc.CONTROLLER)
        metadata = {"name": "p", "namespace": "d", "finalizers": ["a/b"]}
        await world.client.create(PODS, {"metadata": metadata, "spec": SPEC})
        await world.client.delete(PODS, "p", "d")
        await settle(1)
        assert get(one(world, PODS), "status.phase") == "Failed"


@virtual
async def test_pods_that_are_to_leave_a_node_out_of_service_are_let_go():
    async with harness() as world:
        world.run(pod_gc.CONTROLLER)
        out = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
        await world.client.create(NODES, node("n1"))
        await make_pod(world, "p")
        await make_pod(world, "stays")
        await world.client.delete(PODS, "p", "d")
        await settle(100)
        assert len(world.cluster.objects(PODS)) == 2
        await world.client.update(NODES, evolve(one(world), "spec.taints", [out]))
        await settle(1)
        assert len(world.cluster.objects(PODS)) == 2
        silent = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
        await world.client.patch(NODES, "n1", silent, subresource="status")
        await settle(1)
        assert [found["metadata"]["name"] for found in world.cluster.objects(PODS)] == ["stays"]


@virtual
async def test_pods_stay_when_their_node_comes_back_in_time():
    async with harness() as world:
        world.run(pod_gc.CONTROLLER)
        await world.client.create(NODES, node("n1"))
        await make_pod(world, "p")
        await settle(10)
        await world.client.delete(NODES, "n1")
        await settle(20)
        await world.client.create(NODES, node("n1"))
        await settle(100)
        assert len(world.cluster.objects(PODS)) == 1
        await world.client.delete(NODES, "n1")
        await settle(39)
        assert len(world.cluster.objects(PODS)) == 1


@virtual
async def test_finished_pods_beyond_the_limit_go_oldest_first():
    async with harness(terminated_pods_max=2) as world:
        world.run(pod_gc.CONTROLLER)
        await world.client.create(NODES, node("n1"))
        for number in range(5):
            await make_pod(world, f"p{number}")
            status = {"status": {"phase": "Succeeded"}}
            await world.client.patch(PODS, f"p{number}", status, "d", subresource="status")
            await settle(2)
        left = [found["metadata"]["name"] for found in world.cluster.objects(PODS)]
        assert left == ["p3", "p4"]


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_a_lost_pod_that_ran_is_marked_as_failed(phase):
    found = pod("p", phase=phase)
    kinds = Counter(type(action).__name__ for action in pod_gc.plan_orphan(found, NOW))
    assert kinds == ({"Patch": 1, "Delete": 1} if phase == "Running" else {"Delete": 1})


@virtual
async def test_pods_that_are_put_on_an_absent_node_again_and_again_are_collected_now_and_then():
    async with harness() as world:
        world.run(pod_gc.CONTROLLER, replicaset.CONTROLLER)
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {**SPEC, "nodeName": "gone"}}
        body = {
            "metadata": {"name": "rs", "namespace": "d"},
            "spec": {**spec, "template": template},
        }
        await world.client.create(REPLICASETS, body)
        await settle(600)
        made = [r for r in world.cluster.requests if r[1:3] == ("create", "pods")]
        assert 20 <= len(made) <= 31
