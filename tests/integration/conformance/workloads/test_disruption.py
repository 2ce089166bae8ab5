"""Disruption budgets: what they allow follows the pods, and evictions follow them."""

from typing import Any

import pytest

from minikube_py.api.object import get
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.shapes import (
    LABELS,
    condition,
    is_ready,
    status,
    template,
    workload,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def budgets(space: Space, name: str = "") -> str:
    tail = f"/{name}" if name else ""
    return f"/apis/policy/v1/namespaces/{space.name}/poddisruptionbudgets{tail}"


async def create(space: Space, **spec: Any) -> str:
    """Create a budget; return its path."""
    made = {"selector": {"matchLabels": LABELS}, **spec}
    await space.api.create(budgets(space), {"metadata": {"name": "foo"}, "spec": made})
    return budgets(space, "foo")


async def run_pods(space: Space, count: int) -> None:
    for number in range(count):
        pod = {**template(), "metadata": {"name": f"rs-{number}", "labels": LABELS}}
        await space.api.create(space.core("pods"), pod)
    await space.until_pods(lambda pods: len(pods) == count and all(map(is_ready, pods)))


async def evict(space: Space, name: str) -> Any:
    body = {"metadata": {"name": name, "namespace": space.name}}
    return await space.api.call("POST", space.core(f"pods/{name}/eviction"), body)


@pytest.mark.conformance("DisruptionController should create a PodDisruptionBudget")
async def test_a_budget_is_created_replaced_patched_and_deleted(space: Space) -> None:
    path = await create(space, minAvailable="1%")
    shown = await space.api.until(path, lambda one: condition(one, "DisruptionAllowed"))
    assert shown["spec"]["minAvailable"] == "1%"
    shown["spec"]["minAvailable"] = "2%"
    await space.api.put(path, shown)
    await space.api.until(path, status(observedGeneration=2))
    shown = await space.api.patch(path, {"spec": {"minAvailable": "3%"}})
    assert shown["spec"]["minAvailable"] == "3%"
    await space.api.until(path, status(observedGeneration=3))
    await space.api.delete(path)
    await space.api.until_gone(path)


@pytest.mark.conformance("DisruptionController should observe PodDisruptionBudget status updated")
async def test_the_status_says_how_many_pods_may_go(space: Space) -> None:
    path = await create(space, minAvailable=1)
    await run_pods(space, 3)
    shown = await space.api.until(path, status(disruptionsAllowed=2))
    assert condition(shown, "DisruptionAllowed")["reason"] == "SufficientPods"
    counts = {"currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3}
    assert counts.items() <= shown["status"].items()


@pytest.mark.conformance("DisruptionController should block an eviction until the PDB is...")
async def test_an_eviction_waits_for_the_budget(space: Space) -> None:
    path = await create(space, minAvailable=3)
    await run_pods(space, 3)
    await space.api.until(path, status(currentHealthy=3))
    refused = await evict(space, "rs-0")
    assert refused.status == 429
    assert refused.body["details"]["causes"][0]["reason"] == "DisruptionBudget"
    await space.api.patch(path, {"spec": {"minAvailable": 2}})
    await space.api.until(path, status(observedGeneration=2, disruptionsAllowed=1))
    assert (await evict(space, "rs-0")).status == 201
    await space.api.until_gone(space.core("pods/rs-0"))
    await space.api.patch(path, {"spec": {"minAvailable": None, "maxUnavailable": 0}})
    replicated = workload("rs", 2)
    await space.api.create(space.apps("replicasets"), replicated)
    shown = await space.api.until(path, status(observedGeneration=3, expectedPods=2))
    assert get(shown, "status.disruptionsAllowed", 0) == 0
    assert (await evict(space, "rs-1")).status == 429
    await space.api.delete(path)
    assert (await evict(space, "rs-1")).status == 201


async def test_a_custom_kind_with_a_scale_counts(space: Space) -> None:
    names = {"plural": "pools", "singular": "pool", "kind": "Pool", "listKind": "PoolList"}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
            }
        },
        "subresources": {"status": {}, "scale": paths},
    }
    definition = {
        "metadata": {"name": "pools.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await space.api.create(definitions, definition)
    pools = f"/apis/example.com/v1/namespaces/{space.name}/pools"
    await space.api.until(pools)
    pool = await space.api.create(
        pools,
        {
            "apiVersion": "example.com/v1",
            "kind": "Pool",
            "metadata": {"name": "p"},
            "spec": {"replicas": 4},
        },
    )
    owner = {"apiVersion": "example.com/v1", "kind": "Pool", "name": "p", "controller": True}
    owners = [{**owner, "uid": pool["metadata"]["uid"]}]
    pod = {**template(), "metadata": {"name": "a", "labels": LABELS, "ownerReferences": owners}}
    await space.api.create(space.core("pods"), pod)
    path = await create(space, maxUnavailable="50%")
    await space.api.until(path, status(expectedPods=4, desiredHealthy=2, currentHealthy=1))
