"""Cloud controllers beside a real API server, with the rights that they are given."""

import asyncio

from minikube_py.api.core import EVENTS, NODES, SERVICES
from minikube_py.api.object import condition_of, get
from minikube_py.client.controller import Settings
from minikube_py.client.leader_election import elector_of, run_elected
from minikube_py.client.protocol import Client
from minikube_py.lib.tasks import Nursery
from minikube_py.server.cloud import run
from minikube_py.server.cloud.provider import CloudSetting
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually
from tests.unit.server.cloud.fake_cloud import FakeCloud, node, service

NEW = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}
ADDRESSES = [{"type": "InternalIP", "address": "192.0.2.7"}]


def new_service() -> dict:
    made = service(clusterIP="", clusterIPs=None)
    return {**made, "metadata": {"name": "web", "namespace": "default"}}


async def create_node(client: Client, name: str = "n1", **more) -> None:
    made = node(name, **more)
    await client.create(NODES, made)
    await client.patch(NODES, name, {"status": made["status"]}, subresource="status")


async def ingress_of(client: Client) -> list:
    found = await client.get(SERVICES, "web", "default")
    return get(found, "status.loadBalancer.ingress") or []


async def test_the_local_cloud_initialises_nodes_and_serves_services(tmp_path):
    async with running(tmp_path, disable_cloud_controller=False) as server:
        client = server.client
        await create_node(client, taints=[NEW], addresses=ADDRESSES)
        found = await eventually(
            lambda: client.get(NODES, "n1"), lambda n: get(n, "spec.providerID")
        )
        assert found["spec"]["providerID"] == "kpy://n1"
        assert all(t["key"] != NEW["key"] for t in get(found, "spec.taints") or ())
        await client.create(SERVICES, new_service())
        ingress = await eventually(lambda: ingress_of(client), bool)
        assert ingress == [{"ip": "192.0.2.7", "ipMode": "VIP"}]
        await client.delete(SERVICES, "web", "default")


async def start(nursery: Nursery, server: Server, cloud: FakeCloud) -> "asyncio.Task[None]":
    app, setting = server.app, CloudSetting(cluster_cidr="10.42.0.0/16")

    async def work() -> None:
        await run.run_cloud_controllers(
            cloud.provider(), setting, app.loopback, app.scheme, app.clock, Settings()
        )

    elector = elector_of(run.LEASE, app.loopback(run.USER), app.clock)
    return nursery.start("cloud", run_elected(elector, work))


async def test_all_controllers_do_their_work_with_the_rights_of_their_role(server):
    cloud, client = FakeCloud(), server.client
    cloud.machine("n1", zone="z", addresses=ADDRESSES)
    async with Nursery("test") as nursery:
        await start(nursery, server, cloud)
        await create_node(client, taints=[NEW], cidrs=["10.42.1.0/24"])
        await client.create(SERVICES, new_service())
        await eventually(lambda: ingress_of(client), bool)
        found = await eventually(
            lambda: client.get(NODES, "n1"),
            lambda n: condition_of(n, "NetworkUnavailable") and len(n["status"]["addresses"]) == 2,
        )
        assert found["spec"]["providerID"] == "fake://n1"
        assert condition_of(found, "Ready")
        assert found["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z"
        await client.delete(SERVICES, "web", "default")
        await eventually(lambda: client.list(SERVICES, "default"), lambda got: len(got.items) == 1)
        assert (cloud.balancers, cloud.addresses) == ({}, {})
        events = await eventually(
            lambda: client.list(EVENTS),
            lambda got: (
                {"Synced", "DeletedLoadBalancer", "LeaderElection"}
                <= {item.obj["reason"] for item in got.items}
            ),
        )
        sources = {item.obj["reason"]: item.obj["source"]["component"] for item in events.items}
        assert sources["Synced"] == "cloud-node-controller"
        assert sources["DeletedLoadBalancer"] == "service-controller"


async def test_of_two_processes_one_works_and_the_other_takes_over(server):
    cloud, client = FakeCloud(), server.client
    async with Nursery("test") as nursery:
        first = await start(nursery, server, cloud)
        await create_node(client)
        await client.create(SERVICES, new_service())
        await eventually(lambda: ingress_of(client), bool)
        await start(nursery, server, cloud)
        first.cancel()
        await asyncio.wait([first])
        await client.delete(SERVICES, "web", "default")
        await eventually(lambda: client.list(SERVICES, "default"), lambda got: len(got.items) == 1)
        assert (cloud.balancers, cloud.addresses) == ({}, {})


async def test_the_local_cloud_works_among_all_other_controllers(tmp_path):
    both = {"disable_cloud_controller": False, "disable_controller_manager": False}
    async with running(tmp_path, **both) as server:
        await create_node(server.client, taints=[NEW], addresses=ADDRESSES)
        await server.client.create(SERVICES, new_service())
        assert await eventually(lambda: ingress_of(server.client), bool)
