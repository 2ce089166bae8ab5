"""A server that may have rivals schedules and controls while it holds the Leases."""

from minikube_py.api.coordination import LEASES
from minikube_py.api.core import CONFIGMAPS, NAMESPACES
from tests.integration.conftest import running
from tests.integration.patience import eventually

NAMES = ("kube-scheduler", "kube-controller-manager")


async def holders(client):
    leases = (await client.list(LEASES, "kube-system")).items
    return {i.key.name: i.obj["spec"]["holderIdentity"] for i in leases if i.key.name in NAMES}


async def test_the_parts_elect_themselves_with_their_own_rights_and_give_up_when_they_stop(
    tmp_path,
):
    loops = {"disable_scheduler": False, "disable_controller_manager": False}
    async with running(tmp_path, leader_elect=True, **loops) as server:
        held = await eventually(lambda: holders(server.client), lambda found: len(found) == 2)
        assert all(held.values())
        await server.client.create(NAMESPACES, {"metadata": {"name": "d"}})
        await eventually(
            lambda: server.client.list(CONFIGMAPS, "d"), lambda found: bool(found.items)
        )
        metrics = await server.call("GET", "/metrics")
        assert b'leader_election_master_status{name="kube-scheduler"} 1' in metrics.raw
    async with running(tmp_path) as server:
        assert await holders(server.client) == dict.fromkeys(NAMES, "")


async def test_a_server_that_is_alone_writes_no_leases(tmp_path):
    loops = {"disable_scheduler": False, "disable_controller_manager": False}
    async with running(tmp_path, **loops) as server:
        await server.client.create(NAMESPACES, {"metadata": {"name": "d"}})
        await eventually(
            lambda: server.client.list(CONFIGMAPS, "d"), lambda found: bool(found.items)
        )
        assert await holders(server.client) == {}
