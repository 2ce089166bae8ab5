"""Simulated nodes in virtual time, against a model of the API server."""

import contextlib

from minikube_py.agent.simulated.node import DOWN, GROUP
from minikube_py.agent.simulated.rules import Behaviour, NodeGroup, PodRule, Rules, span
from minikube_py.agent.simulated.run import SimulatedNodes
from minikube_py.api import selectors
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key, condition_of, evolve, get
from tests.harness import harness
from tests.virtual_time import settle, virtual

LEASE_NAMESPACE = "kube-node-lease"


@contextlib.asynccontextmanager
async def simulation(count=2, rules=None):
    async with harness() as world:
        world.nodes = SimulatedNodes(
            world.cluster.client("sim"), world.informers, world.clock, rules
        )
        await world.nodes.register(count)
        world.nursery.start("nodes", world.nodes.run())
        yield world


async def make(world, name="p", node="sim-00000", notes=None, **spec):
    metadata = {"name": name, "namespace": "d", "annotations": notes or {}}
    containers = [{"name": "c", "image": "i"}]
    spec = {"nodeName": node, "containers": containers, **spec}
    await world.client.create(PODS, {"metadata": metadata, "spec": spec})


def pod(world, name="p"):
    found = world.cluster.table(PODS).get(Key("d", name))
    return None if found is None else found.obj


def ready(obj):
    return get(condition_of(obj, "Ready"), "status")


def renewed(world, name="sim-00000"):
    lease = world.cluster.table(LEASES).get(Key(LEASE_NAMESPACE, name))
    return None if lease is None else lease.obj["spec"]["renewTime"]


@virtual
async def test_nodes_are_made_ready_and_in_zones_and_renew_their_leases():
    rules = Rules(nodes=(NodeGroup(zones=("a", "b"), capacity={"cpu": "2"}),))
    async with simulation(3, rules) as world:
        await settle(1)
        nodes = world.cluster.objects(NODES)
        zones = [n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in nodes]
        assert zones == ["a", "b", "a"]
        assert {ready(node) for node in nodes} == {"True"}
        assert nodes[0]["status"]["allocatable"] == {"cpu": "2"}
        first = renewed(world)
        await settle(10)
        assert renewed(world) > first


@virtual
async def test_a_pod_runs_gets_an_address_of_its_own_and_goes_when_it_is_deleted():
    async with simulation() as world:
        await make(world, "one")
        await make(world, "two", node="sim-00001")
        await make(world, "elsewhere", node="real")
        await settle(0.9)
        assert "containerStatuses" not in pod(world, "one").get("status", {})
        await settle(0.2)
        found = pod(world, "one")["status"]
        assert (found["phase"], found["hostIP"]) == ("Running", "198.18.0.1")
        assert ready(pod(world, "two")) == "True"
        assert found["podIP"] != pod(world, "two")["status"]["podIP"]
        assert pod(world, "elsewhere")["status"]["phase"] == "Pending"
        await world.client.delete(PODS, "one", "d")
        await settle(0.5)
        assert pod(world, "one") is not None
        await settle(0.6)
        assert pod(world, "one") is None


@virtual
async def test_containers_that_end_are_started_again_as_the_restart_policy_says():
    async with simulation() as world:
        notes = {"simulate.kpy.dev/run": "5", "simulate.kpy.dev/exitCode": "3"}
        for policy in ("Always", "OnFailure", "Never"):
            await make(world, policy.lower(), notes=notes, restartPolicy=policy)
        good = {"simulate.kpy.dev/run": "5"}
        await make(world, "good", notes=good, restartPolicy="OnFailure")
        await settle(7)
        phases = {name: pod(world, name)["status"]["phase"] for name in ("never", "good")}
        assert phases == {"never": "Failed", "good": "Succeeded"}
        for name in ("always", "onfailure"):
            (entry,) = pod(world, name)["status"]["containerStatuses"]
            assert entry["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            assert entry["lastState"]["terminated"]["exitCode"] == 3
        await settle(10)
        (entry,) = pod(world, "always")["status"]["containerStatuses"]
        assert (entry["restartCount"], list(entry["state"])) == (1, ["running"])
        before = len(world.cluster.requests)
        await settle(3600)
        made = [r for r in world.cluster.requests[before:] if r[3].namespace == "d"]
        assert 10 < len(made) < 60  # two pods that crash every five minutes


@virtual
async def test_a_pod_becomes_ready_later_or_never_and_only_with_its_gates():
    async with simulation() as world:
        await make(world, "late", notes={"simulate.kpy.dev/ready": "5"})
        await make(world, "never", notes={"simulate.kpy.dev/ready": "never"})
        await make(world, "gated", readinessGates=[{"conditionType": "x/open"}])
        await settle(5)
        assert {ready(pod(world, name)) for name in ("late", "never", "gated")} == {"False"}
        opened = [
            *pod(world, "gated")["status"]["conditions"],
            {"type": "x/open", "status": "True"},
        ]
        changed = evolve(pod(world, "gated"), "status.conditions", opened)
        await world.client.update(PODS, changed, subresource="status")
        await settle(2)
        states = [ready(pod(world, name)) for name in ("late", "never", "gated")]
        assert states == ["True", "False", "True"]


@virtual
async def test_init_containers_are_done_and_sidecars_run():
    async with simulation() as world:
        init = [{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always"}]
        await make(world, initContainers=init)
        await settle(2)
        states = [list(s["state"]) for s in pod(world)["status"]["initContainerStatuses"]]
        assert states == [["terminated"], ["running"]]


@virtual
async def test_a_node_that_is_cut_off_is_silent_and_its_pods_wait():
    async with simulation() as world:
        await settle(1)
        down = evolve(world.cluster.objects(NODES)[0], "metadata.annotations", {DOWN: "true"})
        await world.client.update(NODES, down)
        await settle(1)
        await make(world)
        silent_since = renewed(world)
        await settle(60)
        assert renewed(world) == silent_since
        assert pod(world)["status"]["phase"] == "Pending"
        there = world.cluster.objects(NODES)[0]
        unknown = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "x"}]
        lost = evolve(there, "status.conditions", unknown)
        there = await world.client.update(NODES, lost, subresource="status")
        await world.client.update(NODES, evolve(there, "metadata.annotations", {}))
        await settle(3)
        assert ready(pod(world)) == ready(world.cluster.objects(NODES)[0]) == "True"


@virtual
async def test_nodes_fail_as_often_and_as_long_as_their_group_says():
    rules = Rules(nodes=(NodeGroup(downEvery=1000.0, downFor=200.0),))
    async with simulation(1, rules) as world:
        heard = 0
        for _ in range(200):
            before = renewed(world)
            await settle(20)
            heard += renewed(world) != before
        assert 150 <= heard <= 170  # four of five


@virtual
async def test_a_simulation_that_starts_again_goes_on_with_what_is_there():
    async with simulation(3) as world:
        await make(world, notes={"simulate.kpy.dev/run": "100"}, restartPolicy="Never")
        await settle(50)
        address = pod(world)["status"]["podIP"]
        await world.nursery.cancel()
        again = SimulatedNodes(world.cluster.client("sim"), world.informers, world.clock)
        await again.register(2)
        assert [n["metadata"]["name"] for n in world.cluster.objects(NODES)] == [
            "sim-00000",
            "sim-00001",
        ]
        world.nursery.start("nodes", again.run())
        await make(world, "new")
        await settle(40)
        assert pod(world)["status"]["phase"] == "Running"
        assert pod(world, "new")["status"]["podIP"] != address
        await settle(12)
        assert pod(world)["status"]["phase"] == "Succeeded"


@virtual
async def test_a_node_that_somebody_makes_with_the_label_is_simulated_and_a_deleted_one_is_gone():
    async with simulation(1) as world:
        metadata = {"name": "mine", "labels": {GROUP: "other"}}
        await world.client.create(NODES, {"metadata": metadata})
        await settle(15)
        mine = world.cluster.table(NODES)[Key("", "mine")].obj
        assert ready(mine) == "True"
        assert mine["status"]["allocatable"]["cpu"] == "32"
        await world.client.delete(NODES, "sim-00000")
        await settle(100)
        assert [n["metadata"]["name"] for n in world.cluster.objects(NODES)] == ["mine"]


@virtual
async def test_refused_writes_are_tried_again_and_a_held_pod_is_not_deleted_over_and_over():
    async with simulation() as world:
        await make(world)
        refusals = iter(range(20))

        def refuse(user, verb, resource, obj):
            if user == "sim" and next(refusals, None) is not None:
                raise ServiceUnavailableError("the datastore is away")

        world.cluster.refuse = refuse
        await settle(120)
        assert ready(pod(world)) == "True"
        await world.client.update(PODS, evolve(pod(world), "metadata.finalizers", ["x/y"]))
        await world.client.delete(PODS, "p", "d")
        await settle(60)
        assert pod(world)["status"]["phase"] == "Failed"
        deletions = [r for r in world.cluster.requests if r[:2] == ("sim", "delete")]
        assert len(deletions) <= 2


@virtual
async def test_caches_that_are_behind_do_not_make_a_pod_start_twice():
    rules = Rules(pods=(PodRule(selectors.parse("a=b"), Behaviour(start=span(9))),))
    async with simulation(1, rules) as world:
        world.cluster.lag = lambda _: 1.5
        await make(world, notes={"simulate.kpy.dev/ready": "2"})
        await settle(30)
        made = [r for r in world.cluster.requests if r[:3] == ("sim", "update/status", "pods")]
        assert len(made) == 2
