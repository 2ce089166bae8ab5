"""A control plane with everything but containers, one for a whole file of tests."""

import itertools
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from tests.integration.conformance.api import Api
from tests.integration.conformance.workloads.nodes import FateOf, Nodes
from tests.integration.conftest import running


class Cluster(NamedTuple):
    """A control plane and its nodes."""

    api: Api
    nodes: Nodes
    numbers: "itertools.count[int]"


class Space:
    """One namespace, and the shortest ways to what is in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.api, self.nodes, self.name = cluster.api, cluster.nodes, name

    def core(self, path: str) -> str:
        """Return the path of something of the core group."""
        return f"/api/v1/namespaces/{self.name}/{path}"

    def apps(self, path: str) -> str:
        """Return the path of something of the group apps."""
        return f"/apis/apps/v1/namespaces/{self.name}/{path}"

    def batch(self, path: str) -> str:
        """Return the path of something of the group batch."""
        return f"/apis/batch/v1/namespaces/{self.name}/{path}"

    def decide(self, fate_of: FateOf) -> None:
        """Say what becomes of the pods of the namespace."""
        self.nodes.fates[self.name] = fate_of

    async def pods(self, labels: str = "") -> list[Any]:
        """Return the pods, by name."""
        found = await self.api.get(self.core(f"pods?labelSelector={labels}"))
        return sorted(found["items"], key=lambda pod: str(pod["metadata"]["name"]))

    async def until_pods(self, good: Any, labels: str = "") -> list[Any]:
        """Return the pods as soon as all of them together are good."""
        path = self.core(f"pods?labelSelector={labels}")
        found = await self.api.until(path, lambda pods: good(pods["items"]))
        return sorted(found["items"], key=lambda pod: str(pod["metadata"]["name"]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Run a control plane with all loops, and two nodes that run whatever is bound to them."""
    folder = tmp_path_factory.mktemp("cluster")
    loops = {"disable_scheduler": False, "disable_controller_manager": False}
    async with (
        running(folder, **loops) as server,
        Nursery("nodes") as nursery,
        Informers(server.client, SystemClock()) as informers,
    ):
        nodes = Nodes(server.client, informers, nursery)
        await nodes.start("n1", "n2")
        yield Cluster(Api(server, folder / "kubeconfig.yaml"), nodes, itertools.count(1))


@pytest_asyncio.fixture(loop_scope="module")
async def space(cluster: Cluster) -> Space:
    """Have a namespace of one's own, whose service account is there."""
    name = f"n{next(cluster.numbers)}"
    await cluster.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    await cluster.api.until(f"/api/v1/namespaces/{name}/serviceaccounts/default")
    return Space(cluster, name)
