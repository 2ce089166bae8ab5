"""What a node says of itself in time: its status, its pressures, its Lease."""

import asyncio
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Handler, RuntimeStatus
from minikube_py.agent.kubelet.node_lease import NodeLease
from minikube_py.agent.kubelet.node_object import MachineFacts, NodeFacts
from minikube_py.agent.kubelet.node_status import NodeStatus
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import EVENTS, NODES
from minikube_py.client.events import Recorder
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.unit.agent.kubelet.strategic import StrategicClient
from tests.virtual_time import VirtualClock, virtual


class NodeRuntime:
    """Says whether it and the network are ready."""

    def __init__(self) -> None:
        self.network = False
        self.down = False
        self.handlers: dict[str, Handler] = {}

    async def status(self) -> RuntimeStatus:
        if self.down:
            raise CriError("connection refused")
        conditions = {"RuntimeReady": (True, ""), "NetworkReady": (self.network, "no cni")}
        return RuntimeStatus(conditions=conditions, handlers=self.handlers)

    async def list_all(self) -> list[Any]:
        return []


class NodeWorld:
    def __init__(self, nursery: Nursery) -> None:
        self.clock = VirtualClock()
        self.cluster = ModelCluster(self.clock)
        self.client = StrategicClient(self.cluster, "kubelet")
        self.runtime = NodeRuntime()
        self.changes = 0
        machine = MachineFacts(cpus=1, memory_bytes=1 << 30, disk_bytes=1 << 30)
        facts = NodeFacts(name="n1", hostname="n1", ips=("10.0.0.1",), machine=machine)
        recorder = Recorder(self.client, "kubelet", self.clock)
        nursery.start("events", recorder.run())
        services: Any = (self.runtime, self.runtime)

        def changed() -> None:
            self.changes += 1

        self.status = NodeStatus(facts, self.client, services, recorder, self.clock, changed)

    def ready(self) -> Any:
        conditions = self.cluster.objects(NODES)[0]["status"]["conditions"]
        return next(c for c in conditions if c["type"] == "Ready")

    def writes(self) -> int:
        return sum(r[1] == "patch/status" for r in self.cluster.requests)


@virtual
async def test_a_node_registers_and_becomes_ready_with_its_network():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        await world.status.register()
        assert world.ready()["reason"] == "KubeletNotReady"
        assert "NetworkPluginNotReady" in world.ready()["message"]
        nursery.start("status", world.status.run())
        await asyncio.sleep(5)
        before = world.changes
        world.runtime.network = True
        await asyncio.sleep(1)
        assert world.ready()["status"] == "True"
        assert world.changes == before + 1
        world.runtime.down = True
        await asyncio.sleep(11)
        assert world.ready()["message"] == "container runtime is down: connection refused"


@virtual
async def test_a_node_that_is_short_of_something_says_so_at_once():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        world.runtime.network = True
        await world.status.register()
        nursery.start("status", world.status.run())
        await asyncio.sleep(1)
        for pressures, told in (
            (frozenset({"MemoryPressure"}), ("True", "KubeletHasInsufficientMemory")),
            (frozenset(), ("False", "KubeletHasSufficientMemory")),
        ):
            world.status.press(pressures)
            await asyncio.sleep(1)
            status = world.cluster.objects(NODES)[0]["status"]
            found = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
            assert found["MemoryPressure"] == told
            assert found["DiskPressure"] == ("False", "KubeletHasNoDiskPressure")
        reasons = [one["reason"] for one in world.cluster.objects(EVENTS)]
        assert {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"} <= set(reasons)


@virtual
async def test_what_is_the_same_is_told_every_five_minutes():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        world.runtime.network = True
        await world.status.register()
        nursery.start("status", world.status.run())
        await asyncio.sleep(3600)
        assert 11 <= world.writes() <= 14


@virtual
async def test_a_node_that_was_given_up_contradicts_at_once():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        world.runtime.network = True
        await world.status.register()
        nursery.start("status", world.status.run())
        await asyncio.sleep(1)
        lost = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
        patch = {"status": {"conditions": lost}}
        await world.client.patch(NODES, "n1", patch, patch_type="strategic", subresource="status")
        world.status.saw(world.cluster.objects(NODES)[0])
        await asyncio.sleep(1)
        (node,) = world.cluster.objects(NODES)
        ready = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        assert ready["Ready"] == "True"


@virtual
async def test_a_node_that_somebody_overwrote_contradicts_at_once():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        world.runtime.network = True
        await world.status.register()
        nursery.start("status", world.status.run())
        await asyncio.sleep(1)
        before = world.cluster.objects(NODES)[0]["status"]
        # What Go makes of a node of which only the capacity is set.
        blank = {"kubeletVersion": "", "osImage": ""}
        patch = {"status": {"nodeInfo": blank, "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}}}
        await world.client.patch(NODES, "n1", patch, patch_type="strategic", subresource="status")
        world.status.saw(world.cluster.objects(NODES)[0])
        await asyncio.sleep(1)
        (node,) = world.cluster.objects(NODES)
        for key in ("nodeInfo", "daemonEndpoints"):
            assert node["status"][key] == before[key]
        writes = world.writes()
        world.status.saw(node)
        await asyncio.sleep(60)
        assert world.writes() == writes


@virtual
async def test_what_others_say_the_node_has_pods_may_have():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        world.runtime.network = True
        await world.status.register()
        nursery.start("status", world.status.run())
        await asyncio.sleep(1)
        for given, told in (("5", {"example.com/fakecpu": "5"}), (None, {})):
            patch = {"status": {"capacity": {"example.com/fakecpu": given}}}
            await world.client.patch(NODES, "n1", patch, subresource="status")
            world.status.saw(world.cluster.objects(NODES)[0])
            await asyncio.sleep(1)
            status = world.cluster.objects(NODES)[0]["status"]
            for kind in ("capacity", "allocatable"):
                others = {name: a for name, a in status[kind].items() if "/" in name}
                assert others == told


@virtual
async def test_a_node_that_was_there_is_taken_over():
    async with Nursery("test") as nursery:
        world = NodeWorld(nursery)
        await world.status.register()
        uid = world.status.uid
        again = NodeWorld(nursery)
        again.client = world.client
        again.cluster = world.cluster
        again.status._client = world.client
        await again.status.register()
        assert again.status.uid == uid


@virtual
async def test_a_lease_is_renewed_every_ten_seconds():
    clock = VirtualClock()
    cluster = ModelCluster(clock)
    client = StrategicClient(cluster, "kubelet")
    async with Nursery("test") as nursery:
        lease = NodeLease("n1", lambda: "uid-1", client, clock)
        nursery.start("lease", lease.run())
        await asyncio.sleep(95)
        (found,) = cluster.objects(LEASES)
        assert found["spec"]["renewTime"] == "2026-01-01T00:01:30.000000Z"
        assert found["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
        assert sum(r[1] == "update" for r in cluster.requests) == 9


@virtual
async def test_a_lease_that_somebody_changed_is_taken_back():
    clock = VirtualClock()
    cluster = ModelCluster(clock)
    client = StrategicClient(cluster, "kubelet")
    async with Nursery("test") as nursery:
        nursery.start("lease", NodeLease("n1", lambda: "u", client, clock).run())
        await asyncio.sleep(5)
        patch = {"spec": {"holderIdentity": "other"}}
        await client.patch(LEASES, "n1", patch, "kube-node-lease")
        await asyncio.sleep(10)
        assert cluster.objects(LEASES)[0]["spec"]["holderIdentity"] == "n1"
