"""Taints with the effect NoExecute: who does not tolerate them for ever has to go."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.integration.conformance.api import Api
from tests.integration.conformance.workloads.conftest import Cluster, Space

pytestmark = pytest.mark.asyncio(loop_scope="module")
TAINT = {"key": "kpy.dev/e2e-evict", "value": "evict", "effect": "NoExecute"}


@contextlib.asynccontextmanager
async def tainted(api: Api, node: str) -> AsyncIterator[None]:
    """Taint a node for the length of the block."""
    path = f"/api/v1/nodes/{node}"
    await api.patch(path, {"spec": {"taints": [TAINT]}})
    try:
        yield
    finally:
        await api.patch(path, {"spec": {"taints": None}})


async def tolerant(space: Space, name: str, node: str, seconds: int) -> str:
    """Have a pod on a node that tolerates the taint for so long; return its path."""
    kept = {"key": TAINT["key"], "effect": TAINT["effect"], "operator": "Exists"}
    toleration = {**kept, "tolerationSeconds": seconds}
    spec = {
        "nodeName": node,
        "containers": [{"name": "c", "image": "i"}],
        "tolerations": [toleration],
    }
    await space.api.create(space.core("pods"), {"metadata": {"name": name}, "spec": spec})
    path = space.core(f"pods/{name}")
    await space.api.until(path, lambda pod: pod["status"].get("phase") == "Running")
    return path


@pytest.mark.conformance("NoExecuteTaintManager Single Pod removing taint cancels eviction")
async def test_a_taint_that_goes_in_time_evicts_nobody(cluster: Cluster, space: Space) -> None:
    spared = await tolerant(space, "spared", "n1", 2)
    judged = await tolerant(space, "judged", "n2", 2)
    async with tainted(cluster.api, "n1"):
        found = await space.api.get(spared)
        assert "deletionTimestamp" not in found["metadata"]
    async with tainted(cluster.api, "n2"):
        await space.api.until_gone(judged)  # whose time began later
    found = await space.api.get(spared)
    assert "deletionTimestamp" not in found["metadata"]


@pytest.mark.conformance(
    "NoExecuteTaintManager Multiple Pods evicts pods with minTolerationSeconds"
)
async def test_pods_go_when_their_own_time_is_over(cluster: Cluster, space: Space) -> None:
    short = await tolerant(space, "short", "n1", 1)
    long = await tolerant(space, "long", "n1", 4)
    async with tainted(cluster.api, "n1"):
        await space.api.until_gone(short)
        found = await space.api.get(long)
        assert "deletionTimestamp" not in found["metadata"]
        await space.api.until_gone(long)
    assert {pod["metadata"]["name"] for pod in await space.pods()} == set()
