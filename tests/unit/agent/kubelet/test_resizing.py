"""Resources that change while a pod runs, in virtual time; and what a node may give, as a law."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.allocation import asked, refusal, summary, with_allocation
from minikube_py.agent.kubelet.resizing import wider
from minikube_py.agent.kubelet.resources import Limits
from minikube_py.api.core import PODS
from minikube_py.api.object import condition_of, evolve
from tests.frozen import freeze
from tests.unit.agent.kubelet.builders import container, pod, sidecar
from tests.unit.agent.kubelet.model_node import Node, model_node
from tests.unit.agent.kubelet.pods_in_time import is_ready, new, until, until_gone, wait
from tests.unit.agent.kubelet.strategic import StrategicClient
from tests.virtual_time import virtual

MI = 1 << 20


def needs(cpu: str = "100m", memory: str = "64Mi", name: str = "c", **more: Any) -> Any:
    both = {"cpu": cpu, "memory": memory}
    return container(name, resources={"limits": both, "requests": both}, **more)


async def resize(node: Node, *containers: Any, name: str = "a") -> None:
    """Ask for other resources, as the subresource does."""
    known = node.pod(name)
    assert known is not None
    wanted = evolve(known, "spec.containers", list(containers))
    generation = known["metadata"]["generation"] + 1
    await node.client.update(PODS, evolve(wanted, "metadata.generation", generation))


def pending(node: Node, name: str = "a") -> Any:
    return condition_of(node.pod(name) or {}, "PodResizePending")


def progress(node: Node) -> Any:
    return condition_of(node.pod() or {}, "PodResizeInProgress")


async def until_has(node: Node, cpu: str) -> None:
    def true() -> bool:
        entry = node.state()
        has = entry.get("resources", {}).get("limits", {}).get("cpu")
        return has == cpu and progress(node) is None

    await wait(true, 60)


@virtual
async def test_a_running_container_is_given_other_limits_without_a_restart(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([needs()]))
        await until(node, "Running")
        await resize(node, needs("200m", "128Mi"))
        await until_has(node, "200m")
        (limits,) = node.runtime.limits.values()
        assert (limits["cpu_quota"], limits["cpu_shares"]) == (20000, 204)
        assert limits["memory_limit_in_bytes"] == 128 * MI
        state = node.state()
        assert state["allocatedResources"] == {"cpu": "200m", "memory": "128Mi"}
        assert state["restartCount"] == 0
        assert is_ready(node)
        assert node.events()[-2:] == ["ResizeStarted", "ResizeCompleted"]
        assert node.runtime.log.count("update c") == 1


@virtual
async def test_a_request_that_changes_no_limit_asks_nothing_of_the_runtime(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([container(resources={"requests": {"memory": "64Mi"}})]))
        await until(node, "Running")
        await resize(node, container(resources={"requests": {"memory": "128Mi"}}))
        await wait(lambda: "ResizeCompleted" in node.events(), 60)
        assert node.state()["resources"] == {"requests": {"memory": "128Mi"}}
        assert "update c" not in node.runtime.log


@pytest.mark.parametrize(
    ("policy", "wanted", "restarts"),
    [
        ("cpu", needs("200m"), 1),
        ("cpu", needs("100m", "128Mi"), 0),
        ("memory", needs("100m", "128Mi"), 1),
    ],
)
@virtual
async def test_a_container_restarts_where_its_policy_asks_for_it(
    tmp_path, policy, wanted, restarts
):
    policies = [{"resourceName": policy, "restartPolicy": "RestartContainer"}]
    async with model_node(tmp_path) as node:
        await node.create(new([needs(resizePolicy=policies)], restartPolicy="OnFailure"))
        await until(node, "Running")
        await resize(node, wanted | {"resizePolicy": policies})
        await wait(lambda: "ResizeCompleted" in node.events(), 60)
        await wait(lambda: is_ready(node), 60)
        assert node.state()["restartCount"] == restarts
        assert node.state()["resources"] == wanted["resources"]
        killed = [m for m in messages(node) if m == "Container c resize requires restart"]
        assert len(killed) == restarts


def messages(node: Node) -> list[str]:
    from minikube_py.api.core import EVENTS  # noqa: PLC0415

    return [str(event["message"]) for event in node.cluster.objects(EVENTS)]


@virtual
async def test_a_sidecar_is_resized_as_a_regular_container_is(tmp_path):
    async with model_node(tmp_path) as node:
        side = sidecar("s", resources={"requests": {"cpu": "100m"}})
        await node.create(new([container()], init=[side]))
        await until(node, "Running")
        known = node.pod()
        assert known is not None
        wanted = [sidecar("s", resources={"requests": {"cpu": "300m"}})]
        await node.client.update(PODS, evolve(known, "spec.initContainers", wanted))
        await wait(lambda: "ResizeCompleted" in node.events(), 60)
        assert node.state("s")["resources"] == {"requests": {"cpu": "300m"}}
        assert node.state("s")["restartCount"] == 0


@virtual
async def test_what_the_node_could_never_give_is_infeasible(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([needs()]))
        await until(node, "Running")
        await resize(node, needs("3", "64Mi"))
        await wait(lambda: pending(node) is not None, 60)
        found = pending(node)
        assert (found["status"], found["reason"]) == ("True", "Infeasible")
        assert found["message"] == (
            "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"
        )
        assert found["observedGeneration"] == 2
        assert node.state()["resources"] == needs()["resources"]
        assert node.events().count("ResizeInfeasible") == 1
        await resize(node, needs())  # taken back
        await wait(lambda: pending(node) is None, 60)
        assert progress(node) is None


@virtual
async def test_what_others_hold_is_waited_for(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([needs("1")]))
        await node.create(new([needs("800m", name="other")], metadata={"name": "b"}))
        await until(node, "Running")
        await resize(node, needs("1500m"))
        await wait(lambda: pending(node) is not None, 60)
        assert pending(node)["reason"] == "Deferred"
        assert pending(node)["message"] == (
            "Node didn't have enough resource: cpu, requested: 1500, used: 800, capacity: 2000"
        )
        assert node.state()["allocatedResources"]["cpu"] == "1"
        await node.client.delete(PODS, "b", "default")
        await until_has(node, "1500m")
        assert pending(node) is None


@virtual
async def test_what_another_pod_gives_back_is_had_at_once(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([needs("1")]))
        await node.create(new([needs("800m", name="other")], metadata={"name": "b"}))
        await until(node, "Running")
        await resize(node, needs("1200m"))
        await resize(node, needs("1300m"))
        await wait(lambda: pending(node) is not None, 60)
        await resize(node, needs("100m", name="other"), name="b")
        await until_has(node, "1300m")


@virtual
async def test_memory_that_is_in_use_is_not_taken_away(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.memory_used["c"] = 50 * MI
        await node.create(new([needs()]))
        await until(node, "Running")
        await resize(node, needs("100m", "32Mi"))
        await wait(lambda: (progress(node) or {}).get("reason") == "Error", 60)
        assert progress(node)["message"] == (
            f"cannot decrease memory limits: [attempting to set pod memory limit ({32 * MI}) below"
            f' current usage ({50 * MI}), attempting to set container "c" memory limit'
            f" ({32 * MI}) below current usage ({50 * MI})]"
        )
        assert node.state()["resources"]["limits"]["memory"] == "64Mi"
        node.runtime.memory_used["c"] = 20 * MI
        await wait(lambda: progress(node) is None, 120)
        assert node.state()["resources"]["limits"]["memory"] == "32Mi"
        assert node.events().count("ResizeError") == 1


@virtual
async def test_a_start_of_kpy_knows_what_was_given(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([needs("1")]))
        await until(node, "Running")
        await resize(node, needs("1500m"))
        await until_has(node, "1500m")
        cluster, runtime = node.cluster, node.runtime
        runtime.log.clear()
    known = (await cluster_pod(cluster)) or {}
    wanted = evolve(known, "spec.containers", [needs("3")])
    async with model_node(tmp_path, cluster, runtime) as node:
        await node.client.update(PODS, wanted)
        await wait(lambda: pending(node) is not None, 60)
        assert node.state()["allocatedResources"]["cpu"] == "1500m"
        assert runtime.log == []
        await node.client.delete(PODS, "a", "default")
        await until_gone(node)


async def cluster_pod(cluster: Any) -> Any:
    (item,) = cluster.table(PODS).values()
    return item.obj


@virtual
async def test_a_resize_while_kpy_was_away_is_decided_when_it_is_back(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([needs("1")]))
        await until(node, "Running")
        cluster, runtime = node.cluster, node.runtime
    wanted = evolve(await cluster_pod(cluster), "spec.containers", [needs("3")])
    await StrategicClient(cluster, "user").update(PODS, wanted)
    async with model_node(tmp_path, cluster, runtime) as node:
        await wait(lambda: pending(node) is not None, 60)
        worker = next(iter(node.workers))
        assert worker.resizing.refused is not None
        assert worker.given["spec"]["containers"][0]["resources"] == needs("1")["resources"]


# --- laws -----------------------------------------------------------------------------------------

AMOUNTS = st.sampled_from(["100m", "1", "1500m", "2"])
CONTAINERS = st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=3)


def made(pairs: list[tuple[str, str]], pick: int) -> Any:
    return pod([needs(pair[pick], name=f"c{i}") for i, pair in enumerate(pairs)])


@given(CONTAINERS)
def test_a_pod_with_its_allocation_asks_for_just_that(pairs):
    old, wanted = made(pairs, 0), made(pairs, 1)
    given_pod = with_allocation(wanted, asked(old))
    assert asked(freeze(given_pod)) == asked(old)
    assert with_allocation(wanted, asked(wanted)) is wanted


@given(CONTAINERS, CONTAINERS)
def test_a_resize_is_refused_just_where_the_sum_is_more_than_the_node_has(pairs, others):
    from minikube_py.agent.kubelet.resources import pod_amounts  # noqa: PLC0415

    one, other = made(pairs, 1), made(others, 1)
    total = pod_amounts(one, "requests")["cpu"] + pod_amounts(other, "requests")["cpu"]
    refused = refusal(one, [other], {"cpu": "4", "memory": "1Ti", "pods": "9"})
    assert (refused is None) == (total.milli_value() <= 4000)


LIMITS = st.builds(
    Limits,
    cpu_shares=st.integers(2, 100),
    cpu_quota_micros=st.none() | st.integers(1000, 5000),
    memory_bytes=st.none() | st.integers(1, 100),
)


@given(LIMITS, LIMITS)
def test_the_wider_of_two_limits_allows_what_each_allows(one, other):
    both = wider(one, other)
    for each in (one, other):
        assert both.cpu_shares >= each.cpu_shares
        for name in ("cpu_quota_micros", "memory_bytes"):
            limit, own = getattr(both, name), getattr(each, name)
            assert limit is None or (own is not None and limit >= own)
    assert wider(one, one) == one


def test_events_say_what_is_asked_for_as_upstream_writes_it():
    side = sidecar("s", resources={"requests": {"memory": "1Mi", "cpu": "1m"}})
    found = summary(pod([needs("100m", "100")], init=[side, container("once")]), "why")
    assert found == (
        '{"initContainers":[{"name":"s","resources":{"requests":{"cpu":"1m","memory":"1Mi"}}}],'
        '"containers":[{"name":"c","resources":{"limits":{"cpu":"100m","memory":"100"},'
        '"requests":{"cpu":"100m","memory":"100"}}}],"generation":1,"error":"why"}'
    )
