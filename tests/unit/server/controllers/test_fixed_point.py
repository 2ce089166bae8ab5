"""The law of every controller: its plans lead to a state in which it wants nothing more.

Random users do random things to a model cluster in which all controllers, the scheduler and
kubelets run, some writes fail and some caches are behind. When they stop, the cluster comes to
rest; and all controllers, started again on that state with empty memories, write nothing.
"""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api.apps import DAEMONSETS, DEPLOYMENTS, REPLICASETS
from minikube_py.api.batch import JOBS
from minikube_py.api.core import (
    CONFIGMAPS,
    ENDPOINTS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICATIONCONTROLLERS,
    SERVICES,
)
from minikube_py.api.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServiceUnavailableError,
)
from minikube_py.api.object import Key, evolve
from minikube_py.client.actions import Create, Delete
from minikube_py.server.controllers import CONTROLLERS
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import World, harness
from tests.kubelet_model import EXIT, READY, RUNS, Kubelets, node
from tests.unit.server.controllers import volumes
from tests.virtual_time import run, settle

REST_SECONDS = 900.0
"""Longer than every deadline and back-off that the steps below set off."""
IMAGES = ("a", "b")
JOB_KINDS = ("good", "bad", "indexed", "per index", "enough")


def template(image, **annotations):
    return {
        "metadata": {"labels": {"app": "web"}, "annotations": annotations},
        "spec": {
            "containers": [{"name": "c", "image": image}],
            "terminationGracePeriodSeconds": 1,
        },
    }


def workload(image, replicas, **spec):
    selector = {"matchLabels": {"app": "web"}}
    return {"replicas": replicas, "selector": selector, "template": template(image), **spec}


number = st.integers(0, 5)
image = st.sampled_from(IMAGES)
name = st.sampled_from(["one", "two"])
policy = st.sampled_from(["Background", "Foreground", "Orphan"])
DELETED = (
    DEPLOYMENTS,
    REPLICASETS,
    DAEMONSETS,
    JOBS,
    SERVICES,
    PERSISTENTVOLUMES,
    PERSISTENTVOLUMECLAIMS,
)
STEPS = st.one_of(
    st.tuples(
        st.just("deployment"), name, number, image, st.sampled_from(["RollingUpdate", "Recreate"])
    ),
    st.tuples(st.just("scale"), name, number),
    st.tuples(st.just("image"), name, image),
    st.tuples(st.just("pause"), name, st.booleans()),
    st.tuples(st.just("replicaset"), name, number),
    st.tuples(st.just("controller"), name, number),
    st.tuples(st.just("job"), name, st.integers(0, 3), st.sampled_from(JOB_KINDS)),
    st.tuples(
        st.just("daemonset"), name, image, st.sampled_from(["OnDelete", "RollingUpdate", "Surge"])
    ),
    st.tuples(st.just("service"), name),
    st.tuples(st.just("endpoints"), name, st.integers(0, 2)),
    st.tuples(st.just("volume"), name, st.sampled_from(["Retain", "Delete"])),
    st.tuples(st.just("claim"), name),
    st.tuples(st.just("delete"), st.sampled_from(DELETED), name, policy),
    st.tuples(st.just("kill"), number),
    st.tuples(st.just("relabel"), number),
    st.tuples(st.just("wait"), st.integers(1, 40)),
)


class User:
    """Does what the steps say; what cannot be done is let be."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.client

    async def do(self, step):
        try:
            await getattr(self, step[0])(*step[1:])
        except (AlreadyExistsError, ConflictError, ForbiddenError, NotFoundError):
            return

    async def _create(self, resource, name, spec):
        await self.client.create(
            resource, {"metadata": {"name": name, "namespace": "d"}, "spec": spec}
        )

    async def deployment(self, name, replicas, image, strategy):
        await self._create(
            DEPLOYMENTS, name, workload(image, replicas, strategy={"type": strategy})
        )

    async def _change(self, name, path, value):
        there = self.world.cluster.table(DEPLOYMENTS).get(Key("d", name))
        if there is not None:
            await self.client.update(DEPLOYMENTS, evolve(there.obj, path, value))

    async def scale(self, name, replicas):
        await self._change(name, "spec.replicas", replicas)

    async def image(self, name, image):
        await self._change(name, "spec.template", template(image))

    async def pause(self, name, paused):
        await self._change(name, "spec.paused", paused)

    async def replicaset(self, name, replicas):
        await self._create(REPLICASETS, f"rs-{name}", workload("a", replicas))

    async def controller(self, name, replicas):
        labels = {"app": "rc"}
        body = {**template("a"), "metadata": {"labels": labels}}
        spec = {"replicas": replicas, "selector": labels, "template": body}
        await self._create(REPLICATIONCONTROLLERS, name, spec)

    async def job(self, name, completions, kind):
        notes = {RUNS: "3", EXIT: "1" if kind in ("bad", "per index") else "0"}
        body = template("a", **notes)
        body = {**body, "spec": {**body["spec"], "restartPolicy": "Never"}}
        spec = {"completions": completions, "parallelism": 2, "backoffLimit": 2, "template": body}
        if kind in ("indexed", "per index", "enough"):
            spec |= {"completionMode": "Indexed", "completions": max(completions, 1)}
        if kind == "per index":
            del spec["backoffLimit"]
            spec |= {"backoffLimitPerIndex": 1, "maxFailedIndexes": 1}
        if kind == "enough":
            spec["successPolicy"] = {"rules": [{"succeededCount": 1}]}
        await self._create(JOBS, name, spec)

    async def daemonset(self, name, image, kind):
        update = {"type": "OnDelete" if kind == "OnDelete" else "RollingUpdate"}
        if kind == "Surge":
            update["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 1}
        labels = {"app": f"ds-{name}"}
        body = {**template(image), "metadata": {"labels": labels}}
        spec = {"selector": {"matchLabels": labels}, "template": body, "updateStrategy": update}
        there = self.world.cluster.table(DAEMONSETS).get(Key("d", name))
        if there is None:
            await self._create(DAEMONSETS, name, spec)
        else:
            await self.client.update(DAEMONSETS, evolve(there.obj, "spec", spec))

    async def endpoints(self, name, count):
        """Have a service without pods, whose addresses somebody writes."""
        spec = {"ports": [{"port": 80}], "clusterIP": "None"}
        await self._create(SERVICES, f"hand-{name}", spec)
        addresses = [{"ip": f"192.0.2.{n + 1}"} for n in range(count)]
        subsets = [{"addresses": addresses, "ports": [{"port": 80}]}] if count else []
        metadata = {"name": f"hand-{name}", "namespace": "d"}
        await self.client.create(ENDPOINTS, {"metadata": metadata, "subsets": subsets})

    async def service(self, name):
        ports = [{"port": 80, "targetPort": 8080}]
        spec = {"selector": {"app": "web"}, "ports": ports, "clusterIP": "10.0.0.1"}
        await self._create(SERVICES, name, {**spec, "ipFamilies": ["IPv4"]})

    async def volume(self, name, policy):
        made = volumes.volume(name, persistentVolumeReclaimPolicy=policy)
        await self.client.create(PERSISTENTVOLUMES, made)

    async def claim(self, name):
        await self.client.create(PERSISTENTVOLUMECLAIMS, volumes.claim(name))

    async def delete(self, resource, name, policy):
        namespace = "d" if resource.namespaced else ""
        options = {"propagationPolicy": policy}
        await self.client.delete(resource, name, namespace, options=options)

    async def kill(self, at):
        pods = self.world.cluster.objects(PODS, "d")
        if pods:
            victim = pods[at % len(pods)]["metadata"]["name"]
            await self.client.delete(PODS, victim, "d")

    async def relabel(self, at):
        pods = self.world.cluster.objects(PODS, "d")
        if pods:
            found = pods[at % len(pods)]
            await self.client.update(PODS, evolve(found, "metadata.labels", {"app": "other"}))

    async def wait(self, seconds):
        await settle(seconds / 2)


async def populated(world, steps):
    world.run(*CONTROLLERS)
    kubelets = Kubelets(world, beat_seconds=40)
    kubelets.start()
    await kubelets.add(node("n1"), node("n2"))
    scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
    world.nursery.start("scheduler", scheduler.run())
    await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})
    user = User(world)
    for step in steps:
        await user.do(step)
        await settle(0.0001)
    await settle(REST_SECONDS)


def writes(world, since):
    """Return what controllers wrote, apart from events."""
    ours = {part.name for part in CONTROLLERS}
    return [one for one in world.cluster.requests[since:] if one[0] in ours and one[2] != "events"]


def counted(world):
    """Check that what wants pods has them."""
    pods = world.cluster.objects(PODS, "d")
    for resource in (REPLICASETS, REPLICATIONCONTROLLERS):
        for owner in world.cluster.objects(resource, "d"):
            owned = [
                pod
                for pod in pods
                for ref in pod["metadata"].get("ownerReferences", ())
                if ref["uid"] == owner["metadata"]["uid"]
            ]
            running = [pod for pod in owned if "deletionTimestamp" not in pod["metadata"]]
            assert len(running) == owner["spec"]["replicas"]
            assert owner["status"].get("readyReplicas", 0) == owner["spec"]["replicas"]


def disturb(world, faults, lags):
    """Let some writes of controllers fail, and let the caches of some kinds be behind."""
    ours = {part.name for part in CONTROLLERS}
    numbers = itertools.count()

    def refuse(user, verb, resource, obj):
        if user in ours and resource.plural != "events" and next(numbers) in faults:
            raise ServiceUnavailableError("the datastore is away")

    world.cluster.refuse = refuse
    world.cluster.lag = lambda resource: lags.get(resource.plural, 0.0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEPS, max_size=12),
    faults=st.sets(st.integers(0, 80), max_size=20),
    lags=st.dictionaries(
        st.sampled_from(
            ["pods", "replicasets", "deployments", "jobs", "endpointslices", "persistentvolumes"]
        ),
        st.floats(0.01, 5.0),
        max_size=3,
    ),
)
def test_the_cluster_comes_to_rest_and_controllers_that_start_again_write_nothing(
    steps, faults, lags
):
    async def scenario():
        async with harness(root_ca="PEM") as world:
            disturb(world, faults, lags)
            await populated(world, steps)
            before = len(world.cluster.requests)
            await settle(REST_SECONDS)
            assert writes(world, before) == []
            counted(world)
            state = {path: dict(table) for path, table in world.cluster._tables.items()}
        async with harness(root_ca="PEM") as again:
            again.cluster._tables = state
            again.cluster.revision = world.cluster.revision
            again.cluster.oldest = world.cluster.revision
            kubelets = Kubelets(again, beat_seconds=40)
            kubelets.start()
            again.run(*CONTROLLERS)
            await settle(30)
            assert writes(again, 0) == []

    run(scenario())


@pytest.mark.parametrize("part", CONTROLLERS, ids=lambda part: part.name)
def test_every_controller_comes_to_rest_alone_in_an_empty_cluster(part):
    async def scenario():
        async with harness(root_ca="PEM") as world:
            await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})
            world.run(part)
            await settle(60)
            before = len(world.cluster.requests)
            await settle(3600)
            assert world.cluster.requests[before:] == []

    run(scenario())


def test_pods_that_never_get_ready_are_not_made_again_and_again():
    async def scenario():
        async with harness(root_ca="PEM") as world:
            await populated(world, [])
            spec = workload("a", 3)
            spec["template"] = template("a", **{READY: "never"})
            metadata = {"name": "stuck", "namespace": "d"}
            await world.client.create(DEPLOYMENTS, {"metadata": metadata, "spec": spec})
            await settle(REST_SECONDS)
            made = [r for r in world.cluster.requests if r[1:3] == ("create", "pods")]
            assert len([r for r in made if r[0] == "replicaset-controller"]) == 3

    run(scenario())


def test_plans_are_made_of_values():
    metadata = {"name": "a", "namespace": "d"}
    assert Create(CONFIGMAPS, metadata) == Create(CONFIGMAPS, metadata)
    assert Delete(CONFIGMAPS, Key("d", "a"), "u") != Delete(CONFIGMAPS, Key("d", "a"), "v")
