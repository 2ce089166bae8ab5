"""Device plugins over real gRPC: they come and go, and their devices are given once."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.assignments import NO_TOPOLOGY, Assignments, TopologySettings
from minikube_py.agent.kubelet.devices.allocation import DeviceAllocations
from minikube_py.agent.kubelet.devices.inventory import Device, Request, choose, hints
from minikube_py.agent.kubelet.devices.messages import TABLE
from minikube_py.agent.kubelet.devices.plugins import GRACE_SECONDS, DevicePlugins
from minikube_py.agent.kubelet.dra.claims import DraClaims
from minikube_py.agent.kubelet.dra.drivers import DraDrivers
from minikube_py.agent.kubelet.node_object import with_devices, with_given
from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.pod_resources import PodResources
from minikube_py.agent.kubelet.pod_resources import codec as pod_resources_codec
from minikube_py.agent.kubelet.topology.hints import Hint, Policy
from minikube_py.lib.message_table import parse
from minikube_py.lib.tasks import Nursery
from tests.node_plugins import RESOURCE, DevicePluginDouble, device
from tests.unit.agent.kubelet.machines import machine
from tests.virtual_time import VirtualClock

FACTS = Path(__file__).resolve().parents[5] / "shared" / "reference" / "wire"
CONTAINER = Spec({"name": "c", "resources": {"limits": {RESOURCE: "2"}}}, "containers")


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a folder with a short name: the path of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="dev") as made:
        yield Path(made)


def pod(count: str = "2", uid: str = "u", **more: Any) -> Any:
    container = {"name": "c", "resources": {"limits": {RESOURCE: count}}}
    metadata = {"name": uid, "namespace": "d", "uid": uid}
    return {"metadata": metadata, "spec": {"containers": [container], **more}}


async def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


class Bells(VirtualClock):
    """A clock whose timers ring when a test says so."""

    def __init__(self) -> None:
        self._bells: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self._bells.append((seconds, callback))
        return asyncio.get_running_loop().call_later(0, lambda: None)

    def ring(self, seconds: float) -> None:
        """Let the timers of that length come to their end."""
        for _, callback in [one for one in self._bells if one[0] == seconds]:
            callback()


@dataclass
class Here:
    """The devices of one node."""

    root: Path
    nursery: Nursery
    clock: Bells = field(default_factory=Bells)
    wakes: list[int] = field(default_factory=list)

    def start(self, topology: TopologySettings = NO_TOPOLOGY) -> None:
        self.plugins = DevicePlugins(self.root, self.clock)
        self.devices = DeviceAllocations(self.plugins, lambda: self.wakes.append(1))
        client: Any = None
        drivers = DraDrivers("n", client, self.clock)
        claims = DraClaims(self.root, drivers, client, self.clock)
        self.assignments = Assignments((self.devices, claims), topology)
        self.task = self.nursery.start("device plugins", self.plugins.run())

    async def ready(self) -> None:
        await until((self.plugins.folder / "kubelet.sock").exists)

    def double(self, *devices: Any) -> DevicePluginDouble:
        return DevicePluginDouble(self.plugins.folder, devices)

    def amounts(self) -> tuple[str | None, str | None]:
        capacity, room = self.plugins.capacity()
        return capacity.get(RESOURCE), room.get(RESOURCE)


@contextlib.asynccontextmanager
async def node(root: Path, topology: TopologySettings = NO_TOPOLOGY) -> AsyncIterator[Here]:
    async with Nursery("test") as nursery:
        made = Here(root, nursery)
        made.start(topology)
        await made.ready()
        yield made


def test_the_numbers_are_those_of_device_plugins() -> None:
    facts = json.loads((FACTS / "kubelet-deviceplugin-v1beta1.json").read_bytes())["messages"]
    for message, fields in parse(TABLE).items():
        numbers = {name: found[0] for name, found in facts[f"v1beta1.{message}"].items()}
        assert {name: found[0] for name, found in fields.items()} == numbers


async def test_a_plugin_comes_changes_goes_and_comes_again(root: Path) -> None:
    async with node(root) as here:
        plugin = here.double(device("a"), device("b", healthy=False))
        async with plugin.serving():
            await until(lambda: here.amounts() == ("2", "1"))
            plugin.tell([device("a"), device("b"), device("c")])
            await until(lambda: here.amounts() == ("3", "3"))
        await until(lambda: here.amounts() == ("3", "0"))
        async with plugin.serving("other.sock"):
            await until(lambda: here.amounts() == ("3", "3"))
        await until(lambda: here.amounts() == ("3", "0"))
        here.clock.ring(GRACE_SECONDS)
        await until(lambda: here.amounts() == ("0", "0"))
        await until(lambda: here.wakes)  # once what is known is on disk


async def test_a_plugin_that_speaks_otherwise_is_told_why_it_is_refused(root: Path) -> None:
    async with node(root) as here:
        plugin = here.double()
        with pytest.raises(CriError, match="is not supported by kubelet"):
            await plugin.register(version="v2")
        plugin.resource = "cpu"
        with pytest.raises(CriError, match='the ResourceName "cpu" is invalid'):
            await plugin.register()


async def test_devices_are_given_once_and_kept_over_a_restart(root: Path) -> None:
    async with node(root) as here:
        plugin = here.double(device("a"), device("b"), device("c"))
        plugin.answer = {
            "mounts": [{"container_path": "/in", "host_path": "/out", "read_only": True}],
            "cdi_devices": [{"name": "example.com/x=a"}],
        }
        async with plugin.serving():
            await until(lambda: here.amounts() == ("3", "3"))
            assert await here.assignments.admit(pod()) is None
            given = here.devices.extras("u", "c")
            assert given.env == {"WIDGETS": "a,b"}
            assert [one.container_path for one in given.mounts] == ["/in"]
            assert given.cdi_devices == ["example.com/x=a"]
            late = await here.assignments.admit(pod(uid="v"))
            assert late is not None
            assert (late.reason, late.message) == (
                "UnexpectedAdmissionError",
                (
                    "Pod was rejected: Allocate failed due to requested number of devices"
                    f" unavailable for {RESOURCE}. Requested: 2, Available: 1, which is unexpected"
                ),
            )
        here.task.cancel()
        await asyncio.wait([here.task])
        here.start()
        await here.ready()
        assert here.amounts() == ("0", "0")
        assert here.devices.extras("u", "c") == given
        assert await here.assignments.admit(pod()) is None
        none = await here.assignments.admit(pod(uid="v"))
        assert none is not None
        assert "no healthy devices present; cannot allocate unhealthy devices" in none.message
        async with plugin.serving():
            await until(lambda: here.amounts() == ("3", "3"))
            assert await here.assignments.admit(pod("1", uid="v")) is None
            assert here.devices.extras("v", "c").env == {"WIDGETS": "c"}
            await here.assignments.release_gone(lambda uid: uid == "v")
            assert here.assignments.holders() == {"v"}
            assert plugin.calls().count("Allocate") == 2


async def test_a_plugin_is_asked_what_it_prefers_and_told_of_starts(root: Path) -> None:
    async with node(root) as here:
        plugin = here.double(device("a"), device("b"), device("c"))
        plugin.options = {"get_preferred_allocation_available": True, "pre_start_required": True}
        plugin.preferred = ["c", "b"]
        async with plugin.serving():
            await until(lambda: here.amounts() == ("3", "3"))
            assert await here.assignments.admit(pod()) is None
            await here.assignments.extras(pod(), CONTAINER)
            assert plugin.calls() == ["GetPreferredAllocation", "Allocate", "PreStartContainer"]
            [asked] = plugin.log[0][1]["container_requests"]
            assert asked == {"available_deviceIDs": ["a", "b", "c"], "allocation_size": 2}
            assert plugin.log[2][1] == {"devices_ids": ["b", "c"]}


async def test_a_plugin_that_fails_says_so_in_the_pods_status(root: Path) -> None:
    async with node(root) as here:
        plugin = here.double(device("a"))
        plugin.failures = {"Allocate": "out of order"}
        async with plugin.serving():
            await until(lambda: here.amounts() == ("1", "1"))
            failure = await here.assignments.admit(pod("1"))
            assert failure is not None
            assert failure.message == (
                "Pod was rejected: Allocate failed due to rpc error: code = Unknown"
                " desc = out of order, which is unexpected"
            )
            assert here.assignments.holders() == set()


async def test_init_containers_leave_their_devices_to_the_others(root: Path) -> None:
    init = {"name": "init", "resources": {"limits": {RESOURCE: "2"}}}
    async with node(root) as here, here.double(device("a"), device("b")).serving():
        await until(lambda: here.amounts() == ("2", "2"))
        assert await here.assignments.admit(pod(initContainers=[init])) is None
        for name in ("init", "c"):
            assert here.devices.extras("u", name).env == {"WIDGETS": "a,b"}


async def test_devices_lie_where_the_topology_manager_wants_them(root: Path) -> None:
    policy = Policy(name="single-numa-node")
    settings = TopologySettings(machine=machine(sockets=2), policy=policy)
    devices = [device("a", nodes=[0]), device("b", nodes=[1]), device("c", nodes=[1])]
    async with node(root, settings) as here, here.double(*devices).serving():
        await until(lambda: here.amounts() == ("3", "3"))
        assert await here.assignments.admit(pod()) is None
        assert here.devices.extras("u", "c").env == {"WIDGETS": "b,c"}
        await here.assignments.release("u")
        failure = await here.assignments.admit(pod("3"))
        assert failure is not None
        assert (failure.reason, failure.message) == (
            "TopologyAffinityError",
            "Pod was rejected: Resources cannot be allocated with Topology locality",
        )


async def test_how_well_devices_are_stands_in_the_pods_status(root: Path) -> None:
    async with node(root) as here:
        woken: list[str] = []
        here.devices.on_health = woken.append

        def shown() -> list[str]:
            [resource] = here.assignments.health(pod("1"))["c"]
            assert resource["name"] == RESOURCE
            return [one["health"] for one in resource["resources"] if one["resourceID"] == "a"]

        plugin = here.double(device("a"))
        async with plugin.serving():
            await until(lambda: here.amounts() == ("1", "1"))
            assert await here.assignments.admit(pod("1")) is None
            assert shown() == ["Healthy"]
            plugin.tell([device("a", healthy=False)])
            await until(lambda: shown() == ["Unhealthy"])
            await until(lambda: woken)
        await until(lambda: shown() == ["Unknown"])
        assert here.assignments.health(pod("1", uid="other")) == {}


async def test_monitoring_agents_are_told_who_has_what(root: Path) -> None:
    async with node(root) as here, here.double(device("a", nodes=[1])).serving():
        await until(lambda: here.amounts() == ("1", "1"))
        assert await here.assignments.admit(pod("1")) is None
        here.nursery.start("api", PodResources(root, here.assignments, lambda: [pod("1")]).run())
        socket = root / "pod-resources" / "kubelet.sock"
        await until(socket.exists)
        asked = Connection(str(socket), pod_resources_codec)
        device_a = {
            "resource_name": RESOURCE,
            "device_ids": ["a"],
            "topology": {"nodes": [{"ID": 1}]},
        }
        shown = {
            "name": "u",
            "namespace": "d",
            "containers": [{"name": "c", "devices": [device_a]}],
        }
        service = "/v1.PodResourcesLister/"
        listed = await asked.ask(
            service + "List", ("ListPodResourcesRequest", {}), "ListPodResourcesResponse"
        )
        assert listed == {"pod_resources": [shown]}
        key = {"pod_name": "u", "pod_namespace": "d"}
        got = await asked.ask(
            service + "Get", ("GetPodResourcesRequest", key), "GetPodResourcesResponse"
        )
        assert got == {"pod_resources": shown}
        with pytest.raises(CriError, match="pod x in namespace d not found"):
            await asked.ask(
                service + "Get",
                ("GetPodResourcesRequest", {**key, "pod_name": "x"}),
                "GetPodResourcesResponse",
            )
        room = await asked.ask(
            service + "GetAllocatableResources",
            ("AllocatableResourcesRequest", {}),
            "AllocatableResourcesResponse",
        )
        assert room == {"devices": [device_a]}
        await asked.aclose()


def ids(*names: str, nodes: Sequence[int] = ()) -> dict[str, Device]:
    return {name: Device(is_healthy=True, nodes=frozenset(nodes)) for name in names}


def test_near_devices_are_taken_before_others_and_reused_ones_before_all() -> None:
    devices = ids("a") | ids("b", "c", nodes=[1]) | ids("d", nodes=[0])
    request = Request(resource="r", count=3, reusable=frozenset({"a"}), nodes=frozenset({0}))
    choice = choose(devices, request)
    assert choice.taken == ("a", "d")
    assert choice.finish() == ("a", "d", "b")
    assert choice.finish(["c"]) == ("a", "d", "c")


def test_hints_of_devices_know_what_is_free_and_what_could_ever_do() -> None:
    devices = ids("a", "b", nodes=[0]) | ids("c", nodes=[1])
    both = frozenset({0, 1})
    assert hints(devices, ["b", "c"], (), 2, [0, 1]) == [Hint(both, preferred=False)]
    assert hints(devices, ["a", "b", "c"], (), 2, [0, 1]) == [
        Hint(frozenset({0}), preferred=True),
        Hint(both, preferred=False),
    ]
    assert hints(ids("a"), ["a"], (), 1, [0, 1]) is None


def test_devices_stand_beside_what_others_gave_the_node() -> None:
    status = {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "1"}}
    with_them = with_devices(status, ({RESOURCE: "3"}, {RESOURCE: "2"}))
    found = with_given(with_them, {"example.com/other": "5"}, {})
    assert found["capacity"] == {"cpu": "2", RESOURCE: "3", "example.com/other": "5"}
    assert found["allocatable"] == {"cpu": "1", RESOURCE: "2", "example.com/other": "5"}
