"""Where pods go, and who makes room for whom, as the conformance suite looks at it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from minikube_py.api.object import get
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.shapes import condition, is_ready, workload

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODES = ("n1", "n2")
FAKE = "example.com/fakecpu"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
PRIORITIES = {"low": 1, "medium": 100, "high": 1000, "p1": 1, "p2": 2, "p3": 3, "p4": 4}


def container(amount: int = 0, **more: Any) -> dict[str, Any]:
    resources = {kind: {FAKE: str(amount)} for kind in ("requests", "limits")} if amount else {}
    return {"name": "pause", "image": "pause:1", "resources": resources, **more}


def pod(name: str, *containers: Any, **spec: Any) -> dict[str, Any]:
    grace = {"terminationGracePeriodSeconds": 0}
    spec = {"containers": list(containers or (container(),)), **grace, **spec}
    return {"metadata": {"name": name}, "spec": spec}


def on(node: str) -> dict[str, Any]:
    """Return the affinity to one node by its name."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


async def give(space: Space, node: str, amount: str | None) -> None:
    """Let a node have so much of a resource that nobody else uses; None takes it back."""
    status = {kind: {FAKE: amount} for kind in ("capacity", "allocatable")}
    await space.api.patch(f"/api/v1/nodes/{node}/status", {"status": status})


@pytest_asyncio.fixture(loop_scope="module")
async def priorities(space: Space) -> AsyncIterator[None]:
    """Have priority classes for the length of a test, and take back what nodes were given."""
    for name, value in PRIORITIES.items():
        await space.api.create(CLASSES, {"metadata": {"name": name}, "value": value})
    yield
    for name in PRIORITIES:
        await space.api.delete(f"{CLASSES}/{name}")
    await space.api.delete(space.core("pods"))
    await space.until_pods(lambda pods: not pods)
    for node in NODES:
        await give(space, node, None)


async def run(space: Space, body: Any, namespace: str = "") -> Any:
    """Create a pod and wait until it is ready; return it."""
    path = f"/api/v1/namespaces/{namespace or space.name}/pods"
    await space.api.create(path, body)
    return await space.api.until(f"{path}/{body['metadata']['name']}", is_ready)


async def waits(space: Space, body: Any) -> str:
    """Create a pod that fits nowhere; return what is said of it."""
    await space.api.create(space.core("pods"), body)
    path = space.core(f"pods/{body['metadata']['name']}")
    found = await space.api.until(path, lambda one: condition(one, "PodScheduled"))
    assert get(found, "spec.nodeName") is None
    assert condition(found, "PodScheduled")["reason"] == "Unschedulable"
    events = space.core(f"events?fieldSelector=involvedObject.uid={found['metadata']['uid']}")
    told = await space.api.until(events, lambda listed: listed["items"])
    message = str(condition(found, "PodScheduled")["message"])
    assert ("FailedScheduling", message) in [(e["reason"], e["message"]) for e in told["items"]]
    return message


@pytest.mark.conformance("SchedulerPredicates validates resource limits of pods that are...")
async def test_a_pod_waits_that_asks_for_more_than_is_left(space: Space, priorities: None) -> None:
    for node in NODES:
        await give(space, node, "10")
        await run(space, pod(f"filler-{node}", container(7), affinity=on(node)))
    assert await waits(space, pod("additional", container(4))) == (
        f"0/2 nodes are available: 2 Insufficient {FAKE}. preemption: 0/2 nodes are available: "
        "2 No preemption victims found for incoming pod."
    )


@pytest.mark.conformance("SchedulerPredicates validates that NodeSelector is respected if matching")
async def test_a_pod_goes_to_the_node_that_has_the_labels_it_asks_for(space: Space) -> None:
    key = f"kubernetes.io/e2e-{space.name}"
    await space.api.patch("/api/v1/nodes/n2", {"metadata": {"labels": {key: "42"}}})
    found = await run(space, pod("with-labels", nodeSelector={key: "42"}))
    assert found["spec"]["nodeName"] == "n2"
    await space.api.patch("/api/v1/nodes/n2", {"metadata": {"labels": {key: None}}})


@pytest.mark.conformance("SchedulerPredicates validates that NodeSelector is respected if not...")
async def test_a_pod_waits_that_asks_for_labels_no_node_has(space: Space) -> None:
    assert await waits(space, pod("restricted", nodeSelector={"label": "nonempty"})) == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )


@pytest.mark.conformance("SchedulerPredicates validates that there exists conflict between pods...")
async def test_a_port_of_all_addresses_is_taken_on_each_of_them(space: Space) -> None:
    def wanting(name: str, address: str) -> dict[str, Any]:
        port = {"containerPort": 8080, "hostPort": 54322, "protocol": "TCP", "hostIP": address}
        return pod(name, container(ports=[port]), affinity=on("n1"))

    await run(space, wanting("pod4", "0.0.0.0"))
    said = await waits(space, wanting("pod5", "127.0.0.1"))
    assert "1 node(s) didn't have free ports for the requested pod ports" in said


async def occupy(space: Space) -> None:
    """Have both nodes two thirds full: the first with a pod that matters little."""
    for node, priority in zip(NODES, ("low", "medium"), strict=True):
        await give(space, node, "3")
        victim = pod(f"on-{node}", container(2), affinity=on(node), priorityClassName=priority)
        await run(space, victim)


@pytest.mark.conformance("SchedulerPreemption validates basic preemption works")
async def test_an_important_pod_takes_the_place_of_the_least_important(
    space: Space, priorities: None
) -> None:
    await occupy(space)
    taken = await run(space, pod("preemptor", container(2), priorityClassName="high"))
    assert taken["spec"]["nodeName"] == "n1"
    assert [one["metadata"]["name"] for one in await space.pods()] == ["on-n2", "preemptor"]


@pytest.mark.conformance("SchedulerPreemption validates lower priority pod preemption by...")
async def test_a_critical_pod_takes_the_place_of_the_least_important(
    space: Space, priorities: None
) -> None:
    await occupy(space)
    critical = pod("critical", container(2), priorityClassName="system-cluster-critical")
    taken = await run(space, critical, "kube-system")
    assert taken["spec"]["nodeName"] == "n1"
    assert [one["metadata"]["name"] for one in await space.pods()] == ["on-n2"]
    await space.api.delete("/api/v1/namespaces/kube-system/pods/critical")


@pytest.mark.conformance("SchedulerPreemption validates pod disruption condition is added to...")
async def test_a_pod_that_has_to_go_says_why(space: Space, priorities: None) -> None:
    await give(space, "n1", "1")
    victim = pod("victim", container(1), affinity=on("n1"), priorityClassName="low")
    victim["metadata"]["finalizers"] = ["example.com/test-finalizer"]
    await run(space, victim)
    preemptor = pod("preemptor", container(1), affinity=on("n1"), priorityClassName="high")
    await space.api.create(space.core("pods"), preemptor)
    path = space.core("pods/victim")
    found = await space.api.until(path, lambda one: one["metadata"].get("deletionTimestamp"))
    told = condition(found, "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
    await space.api.patch(path, {"metadata": {"finalizers": None}})
    await space.api.until(space.core("pods/preemptor"), is_ready)


@pytest.mark.conformance(
    "SchedulerPreemption PreemptionExecutionPath runs ReplicaSets to verify..."
)
async def test_as_few_pods_of_replica_sets_as_possible_have_to_go(
    space: Space, priorities: None
) -> None:
    await give(space, "n1", "1000")
    for number, amount in ((1, 200), (2, 300), (3, 450)):
        labels = {"name": f"pod{number}"}
        spec = pod("", container(amount), priorityClassName=f"p{number}")["spec"]
        spec["nodeSelector"] = {"kubernetes.io/hostname": "n1"}
        template = {"metadata": {"labels": labels}, "spec": spec}
        made = workload(f"rs-{number}", 1, template=template, selector={"matchLabels": labels})
        await space.api.create(space.apps("replicasets"), made)
    before = await space.until_pods(lambda pods: len(pods) == 3 and all(map(is_ready, pods)))
    preemptor = pod("pod4", container(500), priorityClassName="p4")
    preemptor["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "n1"}
    await run(space, preemptor)
    after = await space.until_pods(lambda pods: len(pods) == 4)
    kept = {one["metadata"]["uid"] for one in before} & {one["metadata"]["uid"] for one in after}
    assert [names(before)[uid] for uid in kept] == ["pod3"]
    waiting = [one for one in after if get(one, "spec.nodeName") is None]
    assert sorted(one["metadata"]["labels"]["name"] for one in waiting) == ["pod1", "pod2"]
    for number in (1, 2, 3):
        await space.api.delete(space.apps(f"replicasets/rs-{number}"))


def names(pods: list[Any]) -> dict[str, str]:
    """Return the label `name` of each pod, by uid."""
    return {one["metadata"]["uid"]: one["metadata"]["labels"]["name"] for one in pods}
