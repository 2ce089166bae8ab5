"""A whole cluster in virtual time: controllers, scheduler and nodes through its common days."""

import contextlib
from collections import Counter

from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS
from minikube_py.api.core import EVENTS, NAMESPACES, NODES, PODS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import ForbiddenError
from minikube_py.api.object import Key, condition_of, evolve, get, is_deleting
from minikube_py.server.controllers import CONTROLLERS
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import harness
from tests.kubelet_model import READY, Kubelets, node
from tests.virtual_time import settle, virtual

ALL = ("n1", "n2", "n3")


@contextlib.asynccontextmanager
async def cluster():
    async with harness(root_ca="PEM") as world:
        world.run(*CONTROLLERS)
        world.kubelets = Kubelets(world)
        world.kubelets.start()
        await world.kubelets.add(*map(node, ALL))
        scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
        world.nursery.start("scheduler", scheduler.run())
        await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})
        yield world


def template(image="a", **annotations):
    return {
        "metadata": {"labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "c", "image": image}], "tolerations": patience()},
    }


def patience(seconds=60):
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
    return [{**toleration, "key": key} for key in keys]


async def deploy(world, replicas, **spec):
    metadata = {"name": "web", "namespace": "d"}
    selector = {"matchLabels": {"app": "web"}}
    spec = {"replicas": replicas, "selector": selector, "template": template(), **spec}
    await world.client.create(DEPLOYMENTS, {"metadata": metadata, "spec": spec})


async def change(world, path, value):
    await world.client.update(DEPLOYMENTS, evolve(deployment(world), path, value))


def deployment(world):
    return world.cluster.table(DEPLOYMENTS)[Key("d", "web")].obj


def images(world):
    pods = (p for p in world.cluster.objects(PODS) if not is_deleting(p))
    return Counter(p["spec"]["containers"][0]["image"] for p in pods)


def addresses(world):
    slices = world.cluster.objects(ENDPOINTSLICES)
    return {
        entry["addresses"][0]
        for one in slices
        for entry in one.get("endpoints") or ()
        if entry["conditions"]["ready"]
    }


def service():
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": "web"}, "ports": ports, "clusterIP": "10.0.0.1"}
    return {"metadata": {"name": "web", "namespace": "d"}, "spec": {**spec, "ipFamilies": ["IPv4"]}}


@virtual
async def test_a_deployment_and_its_service_come_up_spread_over_the_nodes():
    async with cluster() as world:
        await deploy(world, 6)
        await world.client.create(SERVICES, service())
        await settle(20)
        status = deployment(world)["status"]
        assert (status["readyReplicas"], status["availableReplicas"]) == (6, 6)
        nodes = Counter(p["spec"]["nodeName"] for p in world.cluster.objects(PODS))
        assert nodes == dict.fromkeys(ALL, 2)
        ips = {p["status"]["podIP"] for p in world.cluster.objects(PODS)}
        assert addresses(world) == ips


@virtual
async def test_a_rollout_never_has_too_few_or_too_many_pods_and_the_service_follows():
    async with cluster() as world:
        await deploy(world, 8)
        await world.client.create(SERVICES, service())
        await settle(20)
        await change(world, "spec.template", template("b"))
        for _ in range(60):
            await settle(0.5)
            running = [p for p in world.cluster.objects(PODS) if not is_deleting(p)]
            ready = [p for p in running if get(condition_of(p, "Ready"), "status") == "True"]
            assert len(running) <= 10
            assert len(ready) >= 6
            assert len(addresses(world)) >= 5
        assert images(world) == {"b": 8}
        assert len(addresses(world)) == 8


@virtual
async def test_a_rollback_brings_the_old_replica_set_back_with_a_new_revision():
    async with cluster() as world:
        await deploy(world, 2)
        await settle(20)
        (first,) = world.cluster.objects(REPLICASETS)
        await change(world, "spec.template", template("b"))
        await settle(30)
        await change(world, "spec.template", template("a"))
        await settle(30)
        key = "deployment.kubernetes.io/revision"
        assert images(world) == {"a": 2}
        assert deployment(world)["metadata"]["annotations"][key] == "3"
        found = world.cluster.table(REPLICASETS)[Key("d", first["metadata"]["name"])].obj
        assert found["metadata"]["annotations"][key] == "3"
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"


@virtual
async def test_a_broken_image_stops_the_rollout_and_the_old_pods_stay():
    async with cluster() as world:
        await deploy(world, 4, progressDeadlineSeconds=60)
        await settle(20)
        await change(world, "spec.template", template("bad", **{READY: "never"}))
        await settle(50)
        assert get(condition_of(deployment(world), "Progressing"), "status") == "True"
        await settle(30)
        progressing = condition_of(deployment(world), "Progressing")
        assert (progressing["status"], progressing["reason"]) == (
            "False",
            "ProgressDeadlineExceeded",
        )
        assert images(world) == {"a": 3, "bad": 2}
        await change(world, "spec.template", template("a"))
        await settle(60)
        assert images(world) == {"a": 4}
        assert get(condition_of(deployment(world), "Progressing"), "status") == "True"


@virtual
async def test_a_recreated_deployment_never_runs_two_versions():
    async with cluster() as world:
        await deploy(world, 3, strategy={"type": "Recreate"})
        await settle(20)
        await change(world, "spec.template", template("b"))
        seen = set()
        for _ in range(100):
            await settle(0.2)
            seen.add(
                frozenset(p["spec"]["containers"][0]["image"] for p in world.cluster.objects(PODS))
            )
        assert frozenset("ab") not in seen
        assert images(world) == {"b": 3}


@virtual
async def test_a_paused_deployment_scales_but_does_not_roll_out():
    async with cluster() as world:
        await deploy(world, 4)
        await settle(20)
        await change(world, "spec.paused", True)  # noqa: FBT003
        await settle(1)
        await change(world, "spec.template", template("b"))
        await settle(1)
        await change(world, "spec.replicas", 6)
        await settle(30)
        assert images(world) == {"a": 6}
        await change(world, "spec.paused", None)
        await settle(30)
        assert images(world) == {"b": 6}


@virtual
async def test_pods_of_a_lost_node_run_elsewhere_after_their_patience():
    async with cluster() as world:
        await deploy(world, 6)
        await world.client.create(SERVICES, service())
        await settle(20)
        world.kubelets.silent.add("n1")
        await settle(70)
        assert len(addresses(world)) == 4  # not ready, so no traffic, but not given up yet
        await settle(120)
        alive = [p for p in world.cluster.objects(PODS) if not is_deleting(p)]
        assert {p["spec"]["nodeName"] for p in alive} == {"n2", "n3"}
        assert len(alive) == len(addresses(world)) == 6
        stuck = [p for p in world.cluster.objects(PODS) if is_deleting(p)]
        assert {p["spec"]["nodeName"] for p in stuck} == {"n1"}
        await world.client.delete(NODES, "n1")
        await settle(60)
        assert not [p for p in world.cluster.objects(PODS) if is_deleting(p)]


@virtual
async def test_a_quota_like_refusal_shows_and_passes():
    refusing = [True]

    def refuse(user, verb, resource, obj):
        if refusing and user == "replicaset-controller" and resource is PODS and verb == "create":
            raise ForbiddenError("exceeded quota")

    async with cluster() as world:
        world.cluster.refuse = refuse
        await deploy(world, 3)
        await settle(20)
        failure = condition_of(deployment(world), "ReplicaFailure")
        assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
        creations = [
            r
            for r in world.cluster.requests
            if r[:3] == ("replicaset-controller", "create", "pods")
        ]
        assert len(creations) < 30
        refusing.clear()
        await settle(60)
        assert images(world) == {"a": 3}
        assert condition_of(deployment(world), "ReplicaFailure") is None


@virtual
async def test_deleting_in_the_foreground_ends_with_the_deployment():
    async with cluster() as world:
        await deploy(world, 3)
        await settle(20)
        gone = []
        for resource in (PODS, REPLICASETS, DEPLOYMENTS):
            world.informers.get(resource).subscribe(
                lambda old, new, resource=resource: (
                    gone.append(resource.kind) if new is None else None
                )
            )
        options = {"propagationPolicy": "Foreground"}
        await world.client.delete(DEPLOYMENTS, "web", "d", options=options)
        await settle(60)
    assert gone == ["Pod", "Pod", "Pod", "ReplicaSet", "Deployment"]


@virtual
async def test_orphans_of_a_deployment_are_adopted_by_the_next_one():
    async with cluster() as world:
        await deploy(world, 3)
        await settle(20)
        uids = {p["metadata"]["uid"] for p in world.cluster.objects(PODS)}
        options = {"propagationPolicy": "Orphan"}
        await world.client.delete(DEPLOYMENTS, "web", "d", options=options)
        await settle(20)
        assert len(world.cluster.objects(REPLICASETS)) == 1
        await deploy(world, 3)
        await settle(20)
        assert {p["metadata"]["uid"] for p in world.cluster.objects(PODS)} == uids
        assert len(world.cluster.objects(REPLICASETS)) == 1


@virtual
async def test_a_day_of_nothing_costs_heartbeats_only():
    async with cluster() as world:
        await deploy(world, 3)
        await settle(60)
        before = len(world.cluster.requests)
        await settle(86_400.0)
        assert {r[2] for r in world.cluster.requests[before:]} == {"leases.coordination.k8s.io"}


@virtual
async def test_a_namespace_with_a_running_deployment_is_emptied():
    async with cluster() as world:
        await deploy(world, 6)
        await world.client.create(SERVICES, service())
        await settle(20)
        await world.client.delete(NAMESPACES, "d")
        await settle(60)
        left = {path: list(table) for path, table in world.cluster._tables.items() if table}
        assert set(left) <= {
            "/api/v1/nodes",
            "/apis/coordination.k8s.io/v1/leases",
            "/api/v1/events",
        }
        assert not [e for e in world.cluster.objects(EVENTS) if e["metadata"]["namespace"] == "d"]


@virtual
async def test_a_name_that_is_taken_by_another_gives_the_template_another_hash():
    async with cluster() as world:
        await deploy(world, 1)
        await settle(20)
        (first,) = world.cluster.objects(REPLICASETS)
        await world.client.delete(DEPLOYMENTS, "web", "d")
        await settle(20)
        spec = {**first["spec"], "replicas": 0}
        metadata = {"name": first["metadata"]["name"], "namespace": "d"}
        await world.client.create(REPLICASETS, {"metadata": metadata, "spec": spec})
        spec = evolve(spec, "template.spec.containers", [{"name": "c", "image": "other"}])
        there = world.cluster.table(REPLICASETS)[Key("d", metadata["name"])].obj
        await world.client.update(REPLICASETS, {**there, "spec": spec})
        (there,) = world.cluster.objects(REPLICASETS)
        selector = {"matchLabels": {"app": "other"}}
        world.cluster.write(
            REPLICASETS,
            evolve(evolve(there, "spec.selector", selector), "metadata.labels", {"app": "other"}),
        )
        await deploy(world, 1)
        await settle(20)
        assert deployment(world)["status"]["collisionCount"] == 1
        assert images(world) == {"a": 1}
        assert len(world.cluster.objects(REPLICASETS)) == 2
