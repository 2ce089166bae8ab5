"""Daemon sets: which nodes have a pod, how a change reaches them, what failed pods wait for."""

import pytest

from minikube_py.api.apps import CONTROLLERREVISIONS, DAEMONSETS
from minikube_py.api.core import PODS
from minikube_py.api.object import Key, evolve
from minikube_py.server.controllers import daemonset
from minikube_py.server.controllers.daemonset_pods import Fit, NodeFacts, fitter
from minikube_py.server.controllers.daemonset_rollout import bounds
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import harness
from tests.kubelet_model import EXIT, RUNS, Kubelets, node
from tests.virtual_time import run, settle


def ds(image="a", notes=None, update=None, **pod):
    spec = {"containers": [{"name": "c", "image": image}], "terminationGracePeriodSeconds": 1}
    metadata = {"labels": {"app": "web"}, "annotations": notes or {}}
    made = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": metadata, "spec": {**spec, **pod}},
    }
    if update:
        made["updateStrategy"] = update
    obj = {"metadata": {"name": "ds", "namespace": "d"}, "spec": made}
    return DAEMONSETS.default({"apiVersion": "apps/v1", "kind": "DaemonSet", **obj})


def taint(key, effect):
    return {"key": key, "effect": effect}


@pytest.mark.parametrize(
    ("pod", "labels", "taints", "fit"),
    [
        ({}, {}, [], (True, True)),
        ({"nodeSelector": {"a": "b"}}, {}, [], (False, False)),
        ({"nodeSelector": {"a": "b"}}, {"a": "b"}, [], (True, True)),
        ({"nodeName": "other"}, {}, [], (False, False)),
        ({}, {}, [taint("x", "NoSchedule")], (False, True)),
        ({}, {}, [taint("x", "NoExecute")], (False, False)),
        ({}, {}, [taint("x", "PreferNoSchedule")], (True, True)),
        ({}, {}, [taint("node.kubernetes.io/unschedulable", "NoSchedule")], (True, True)),
        ({}, {}, [taint("node.kubernetes.io/not-ready", "NoExecute")], (True, True)),
        ({}, {}, [taint("node.kubernetes.io/network-unavailable", "NoSchedule")], (False, True)),
    ],
)
def test_a_node_fits_by_name_labels_and_taints(pod, labels, taints, fit):
    assert fitter(ds(**pod))(NodeFacts("n", labels, taints)) == Fit(*fit)


def test_bounds_are_rounded_up_and_never_both_zero():
    rolling = {"maxUnavailable": "10%", "maxSurge": 0}
    update = {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert bounds(ds(update=update), 5) == (0, 1)
    assert bounds(ds(update={**update, "rollingUpdate": {**rolling, "maxUnavailable": 0}}), 5) == (
        0,
        1,
    )


async def start(world, obj, *names):
    world.run(daemonset.CONTROLLER)
    kubelets = Kubelets(world)
    kubelets.start()
    await kubelets.add(*map(node, names))
    scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
    world.nursery.start("scheduler", scheduler.run())
    await world.client.create(DAEMONSETS, obj)
    await settle(30)


def running(world):
    return {
        pod["spec"]["nodeName"]: pod["spec"]["containers"][0]["image"]
        for pod in world.cluster.objects(PODS)
    }


def there(world):
    return world.cluster.table(DAEMONSETS)[Key("d", "ds")].obj


IMAGE = "spec.template"
SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


@pytest.mark.parametrize("update", [None, SURGE])
def test_every_node_has_one_pod_and_a_change_reaches_all_of_them(update):
    async def scenario():
        async with harness() as world:
            await start(world, ds(update=update), "n1", "n2", "n3")
            assert running(world) == dict.fromkeys(("n1", "n2", "n3"), "a")
            assert there(world)["status"]["numberAvailable"] == 3
            await world.client.update(
                DAEMONSETS, evolve(there(world), IMAGE, ds("b")["spec"]["template"])
            )
            await settle(120)
            assert running(world) == dict.fromkeys(("n1", "n2", "n3"), "b")
            assert len(world.cluster.objects(PODS)) == 3
            status = there(world)["status"]
            assert (status["updatedNumberScheduled"], status["numberReady"]) == (3, 3)
            revisions = world.cluster.objects(CONTROLLERREVISIONS)
            assert sorted(one["revision"] for one in revisions) == [1, 2]
            before = len(world.cluster.requests)
            await settle(3600)
            made = world.cluster.requests[before:]
            assert [r for r in made if r[0] == "daemonset-controller" and r[2] != "events"] == []

    run(scenario())


def test_on_delete_replaces_only_what_the_user_deletes():
    async def scenario():
        async with harness() as world:
            await start(world, ds(update={"type": "OnDelete"}), "n1", "n2")
            await world.client.update(
                DAEMONSETS, evolve(there(world), IMAGE, ds("b")["spec"]["template"])
            )
            await settle(60)
            assert running(world) == {"n1": "a", "n2": "a"}
            victim = next(p for p in world.cluster.objects(PODS) if p["spec"]["nodeName"] == "n1")
            await world.client.delete(PODS, victim["metadata"]["name"], "d")
            await settle(60)
            assert running(world) == {"n1": "b", "n2": "a"}

    run(scenario())


def test_failed_pods_are_replaced_with_growing_waits():
    async def scenario():
        async with harness() as world:
            obj = ds(notes={RUNS: "1", EXIT: "1"}, restartPolicy="Never")
            await start(world, obj, "n1")
            await settle(600)
            made = [
                r
                for r in world.cluster.requests
                if r[:3] == ("daemonset-controller", "create", "pods")
            ]
            assert 4 <= len(made) <= 14

    run(scenario())
