"""CSI on a node, over real gRPC: drivers register, volumes are staged, published and given back."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.csi.driver import Driver
from minikube_py.agent.kubelet.csi.registration import KIND, CsiDrivers, node_patch
from minikube_py.agent.kubelet.csi.volumes import AGAIN_SECONDS, CsiVolumes, Services
from minikube_py.agent.kubelet.node_object import with_in_use
from minikube_py.agent.kubelet.plugins.registration import Registration
from minikube_py.agent.kubelet.stats.disk import Space, Used
from minikube_py.agent.kubelet.stats.volume_metrics import VolumeUse
from minikube_py.agent.kubelet.tokens import Tokens
from minikube_py.agent.kubelet.volumes.payload import Sources, VolumeError
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, SECRETS
from minikube_py.api.errors import NotFoundError
from minikube_py.api.object import Key, annotations_of, evolve
from minikube_py.api.storage import CSIDRIVERS, CSINODES, VOLUMEATTACHMENTS
from minikube_py.server.controllers.attachments import attachment_name
from tests.csi_driver import NAME, FakeDriver, serving
from tests.harness import World, harness
from tests.unit.agent.away import Line
from tests.unit.server.controllers.volumes import volume


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a folder with a short name: the path of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="csi") as made:
        yield Path(made)


@dataclass
class Here:
    """One node with a driver."""

    world: World
    driver: FakeDriver
    drivers: CsiDrivers
    csi: CsiVolumes
    root: Path
    socket: Path
    changes: list[int]
    services: Services

    @property
    def volumes(self) -> PodVolumes:
        return PodVolumes(self.root, csi=self.csi)

    def node(self) -> Any:
        return self.world.cluster.table(NODES)[Key("", "n")].obj


async def until(true: Callable[[], object]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


@contextlib.asynccontextmanager
async def node_with_driver(
    tmp_path: Path, capabilities: tuple[int, ...] = (1,), **spec: Any
) -> AsyncIterator[Here]:
    root = tmp_path / "k"
    driver = FakeDriver(tmp_path / "csi.sock", capabilities)
    async with harness() as world:
        await world.client.create(NODES, {"metadata": {"name": "n"}})
        made = {"metadata": {"name": NAME}, "spec": {"attachRequired": False, **spec}}
        await world.client.create(CSIDRIVERS, made)
        drivers = CsiDrivers("n", world.client, world.clock)
        registration = Registration(root / "plugins_registry", {KIND: drivers}, world.clock)
        changes: list[int] = []
        services = Services(world.client, drivers, Tokens(world.client, world.clock), world.clock)
        csi = CsiVolumes(root, "n", services, lambda: changes.append(1))
        world.nursery.start("plugins", registration.run())
        await until((root / "plugins_registry").is_dir)
        async with serving(driver, root / "plugins_registry") as socket:
            await until(lambda: drivers.get(NAME))
            yield Here(world, driver, drivers, csi, root, socket, changes, services)
            if (left := drivers.get(NAME)) is not None:
                await left.aclose()


def persistent(**more: Any) -> Any:
    source = {"driver": NAME, "volumeHandle": "h", "volumeAttributes": {"a": "b"}, **more}
    made = volume("v", csi=source, mountOptions=["noatime"])
    spec = {key: value for key, value in made["spec"].items() if key != "hostPath"}
    return {**made, "spec": spec}


def pod(name: str = "p", **more: Any) -> dict[str, Any]:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]
    metadata = {"name": name, "namespace": "d", "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"containers": [], "volumes": volumes, **more}}


def sources(**found: Any) -> Sources:
    return Sources(
        config_map=lambda _: None,
        secret=lambda _: None,
        token=lambda _: "",
        fields={},
        allocatable={},
        persistent=found,
    )


async def test_a_driver_registers_and_the_cluster_is_told_and_told_again_when_it_leaves(
    tmp_path: Path,
) -> None:
    async with node_with_driver(tmp_path) as here:
        await until(lambda: here.driver.registered)
        assert here.driver.registered[0]["plugin_registered"]
        csinode = here.world.cluster.table(CSINODES)[Key("", "n")].obj
        [told] = csinode["spec"]["drivers"]
        assert told == {
            "name": NAME,
            "nodeID": "id-1",
            "topologyKeys": ["topology.example.com/zone"],
            "allocatable": {"count": 7},
        }
        assert not list(CSINODES.validate(csinode, None))
        assert csinode["metadata"]["ownerReferences"][0]["kind"] == "Node"
        node = here.node()
        assert node["metadata"]["labels"] == {"topology.example.com/zone": "z1"}
        note = annotations_of(node)["csi.volume.kubernetes.io/nodeid"]
        assert json.loads(note) == {NAME: "id-1"}
        here.socket.unlink()
        await until(lambda: here.drivers.get(NAME) is None)
        await until(
            lambda: not here.world.cluster.table(CSINODES)[Key("", "n")].obj["spec"]["drivers"]
        )
        assert "csi.volume.kubernetes.io/nodeid" not in annotations_of(here.node())


def test_labels_and_identity_that_are_there_are_not_written_again() -> None:
    node = {"metadata": {"name": "n"}}
    assert node_patch(node, NAME, None) is None


async def test_a_volume_is_staged_once_and_published_for_each_pod(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path) as here:
        for name in ("p", "q"):
            found = await here.volumes.set_up(pod(name), sources(data=persistent()))
            target = here.root / "pods" / f"uid-{name}" / "volumes/kubernetes.io~csi/v/mount"
            assert found == {"data": target}
            assert target.is_dir()
        assert here.driver.verbs() == ["NodeStageVolume", "NodePublishVolume"] * 2
        staged = here.driver.said("NodeStageVolume")
        assert staged["volume_id"] == "h"
        assert staged["volume_context"] == {"a": "b"}
        capability = staged["volume_capability"]
        assert capability["mount"]["mount_flags"] == ["noatime"]
        assert capability["access_mode"]["mode"] == "SINGLE_NODE_WRITER"
        assert here.csi.in_use() == [f"kubernetes.io/csi/{NAME}^h"]
        before = len(here.driver.log)
        await here.volumes.set_up(pod("p"), sources(data=persistent()))
        assert len(here.driver.log) == before
        assert await here.volumes.tear_down("uid-p")
        assert here.driver.verbs()[-1] == "NodeUnpublishVolume"
        assert here.csi.in_use() == [f"kubernetes.io/csi/{NAME}^h"]
        assert await here.volumes.tear_down("uid-q")
        assert here.driver.verbs()[-2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
        assert here.csi.in_use() == []
        assert not list((here.root / "plugins/kubernetes.io/csi" / NAME).iterdir())
        assert here.changes


async def test_what_was_mounted_before_a_crash_is_given_back_after_it(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path) as here:
        await here.volumes.set_up(pod(), sources(data=persistent()))
        again = CsiVolumes(here.root, "n", here.services, lambda: None)
        assert again.in_use() == [f"kubernetes.io/csi/{NAME}^h"]
        volumes = PodVolumes(here.root, csi=again)
        here.driver.failures["NodeUnpublishVolume"] = "busy"
        assert not await volumes.tear_down("uid-p")
        assert again.in_use() != []
        here.driver.failures.clear()
        assert await volumes.tear_down("uid-p")
        assert not (here.root / "pods" / "uid-p").exists()


async def test_a_failing_driver_is_quoted_and_tried_again(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path) as here:
        for call, step in (
            ("NodeStageVolume", "MountVolume.MountDevice"),
            ("NodePublishVolume", "MountVolume.SetUp"),
        ):
            here.driver.failures = {call: "no such disk"}
            with pytest.raises(VolumeError) as caught:
                await here.volumes.set_up(pod(), sources(data=persistent()))
            text = f'{step} failed for volume "v" : rpc error: code = Internal desc = no such disk'
            assert str(caught.value) == text
        here.driver.failures = {}
        assert await here.volumes.set_up(pod(), sources(data=persistent()))


async def test_a_volume_is_waited_for_until_it_is_attached(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path, attachRequired=True) as here:
        name = attachment_name(persistent(), "n")

        async def refused() -> str:
            with pytest.raises(VolumeError) as caught:
                await here.volumes.set_up(pod(), sources(data=persistent()))
            return str(caught.value)

        assert (await refused()).startswith('MountVolume.WaitForAttach failed for volume "v" : ')
        spec = {"attacher": NAME, "nodeName": "n", "source": {"persistentVolumeName": "v"}}
        made = await here.world.client.create(
            VOLUMEATTACHMENTS, {"metadata": {"name": name}, "spec": spec}
        )
        assert "has not been attached yet" in await refused()
        status = {"attached": True, "attachmentMetadata": {"dev": "/dev/x"}}
        attached = evolve(made, "status", status)
        await here.world.client.update(VOLUMEATTACHMENTS, attached, subresource="status")
        await here.volumes.set_up(pod(), sources(data=persistent()))
        assert here.driver.said("NodeStageVolume")["publish_context"] == {"dev": "/dev/x"}


async def test_an_inline_volume_is_published_alone_and_knows_its_pod(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path, podInfoOnMount=True) as here:
        secret = {"metadata": {"name": "s", "namespace": "d"}, "data": {"key": "dmFsdWU="}}
        await here.world.client.create(SECRETS, secret)
        source = {"driver": NAME, "nodePublishSecretRef": {"name": "s"}, "readOnly": True}
        volumes = [{"name": "data", "csi": source}]
        inline = pod(volumes=volumes, serviceAccountName="me")
        assert await here.volumes.set_up(inline, sources())
        assert here.driver.verbs() == ["NodePublishVolume"]
        said = here.driver.said("NodePublishVolume")
        assert said["volume_context"] == {
            "csi.storage.k8s.io/pod.name": "p",
            "csi.storage.k8s.io/pod.namespace": "d",
            "csi.storage.k8s.io/pod.uid": "uid-p",
            "csi.storage.k8s.io/serviceAccount.name": "me",
            "csi.storage.k8s.io/ephemeral": "true",
        }
        assert said["secrets"] == {"key": "value"}
        assert said["readonly"]
        assert said["volume_id"].startswith("csi-")
        assert await here.volumes.tear_down("uid-p")


async def test_a_driver_that_knows_modes_and_groups_is_told_them(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path, (5, 6)) as here:
        with_group = pod(securityContext={"fsGroup": 7})
        await here.volumes.set_up(with_group, sources(data=persistent(fsType="ext4")))
        capability = here.driver.said("NodePublishVolume")["volume_capability"]
        assert capability["access_mode"]["mode"] == "SINGLE_NODE_MULTI_WRITER"
        assert capability["mount"]["volume_mount_group"] == "7"
        assert here.driver.verbs() == ["NodePublishVolume"]


async def test_without_its_driver_a_volume_says_so(tmp_path: Path) -> None:
    async with harness() as world:
        none: dict[str, Driver] = {}
        services = Services(world.client, none, Tokens(world.client, world.clock), world.clock)
        csi = CsiVolumes(tmp_path, "n", services, lambda: None)
        with pytest.raises(VolumeError, match="not found in the list of registered CSI drivers"):
            await csi.set_up(pod(), {"data": persistent()})


async def test_a_plugin_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    registry = tmp_path / "plugins_registry"
    registry.mkdir()
    driver = FakeDriver(tmp_path / "csi.sock")
    driver.kind = "DevicePlugin"
    async with harness() as world, serving(driver, registry):
        drivers = CsiDrivers("n", world.client, world.clock)
        await Registration(registry, {KIND: drivers}, world.clock).look()
        assert drivers.get(NAME) is None
        assert driver.registered == []


def test_the_status_of_a_node_names_what_is_in_use_and_forgets_it() -> None:
    assert with_in_use({"a": 1}, (), {}) == {"a": 1}
    assert with_in_use({}, ["x"], {}) == {"volumesInUse": ["x"]}
    assert with_in_use({}, (), {"volumesInUse": ["x"]}) == {"volumesInUse": None}


async def test_a_driver_that_is_not_ready_yet_or_comes_again_is_registered_all_the_same(
    tmp_path: Path,
) -> None:
    registry = tmp_path / "plugins_registry"
    driver = FakeDriver(tmp_path / "csi.sock")
    driver.failures["NodeGetInfo"] = "not yet"
    async with harness() as world:
        await world.client.create(NODES, {"metadata": {"name": "n"}})
        drivers = CsiDrivers("n", world.client, world.clock)
        registration = Registration(registry, {KIND: drivers}, world.clock)
        world.nursery.start("plugins", registration.run())
        await until(registry.is_dir)
        async with serving(driver, registry):
            await until(lambda: driver.registered)
            assert driver.registered[0] == {"error": "not yet"}
            driver.failures.clear()
            await until(lambda: drivers.get(NAME))
            first = drivers.get(NAME)
        driver.registered.clear()
        async with serving(driver, registry):
            await until(lambda: any(one.get("plugin_registered") for one in driver.registered))
            await until(lambda: drivers.get(NAME) not in (None, first))
            found = drivers.get(NAME)
            assert found is not None
            await found.aclose()


async def test_a_driver_that_comes_while_no_server_answers_is_used_and_told_of_later(
    tmp_path: Path,
) -> None:
    registry, line = tmp_path / "plugins_registry", Line()
    driver = FakeDriver(tmp_path / "csi.sock")
    async with harness() as world:
        await world.client.create(NODES, {"metadata": {"name": "n"}})
        drivers = CsiDrivers("n", line.through(world.client), world.clock)
        world.nursery.start("drivers", drivers.run())
        registration = Registration(registry, {KIND: drivers}, world.clock)
        world.nursery.start("plugins", registration.run())
        await until(registry.is_dir)
        line.is_cut = True
        async with serving(driver, registry):
            await until(lambda: driver.registered)
            assert driver.registered[0] == {"plugin_registered": True}
            found = drivers.get(NAME)
            assert found is not None
            line.is_cut = False
            names: list[str] = []
            while names != [NAME]:
                await asyncio.sleep(0.01)
                with contextlib.suppress(NotFoundError):
                    told = await world.client.get(CSINODES, "n")
                    names = [one["name"] for one in told["spec"]["drivers"]]
            await found.aclose()


class LaterClock:
    """The clock of a world, and as much later as a test says."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.ahead = 0.0

    def monotonic(self) -> float:
        return float(self._clock.monotonic()) + self.ahead


class GivenTokens:
    """Grants a token for whatever is asked."""

    async def granted(self, pod: Any, requests: Any) -> dict[str, tuple[str, datetime]]:
        end = datetime(2030, 1, 1, tzinfo=UTC)
        name = pod["metadata"]["name"]
        return {one["audience"]: (f"token of {name}", end) for one in requests}


def later(here: Here) -> tuple[CsiVolumes, LaterClock]:
    """Return the volumes of a node whose time a test may change, and its clock."""
    clock: Any = LaterClock(here.world.clock)
    tokens: Any = GivenTokens()
    services = Services(here.world.client, here.drivers, tokens, clock)
    return CsiVolumes(here.root, "n", services, lambda: None), clock


async def test_a_block_device_is_published_as_a_file_and_taken_back(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path) as here:
        block = evolve(persistent(fsType="ext4"), "spec.volumeMode", "Block")
        device = here.root / "plugins/kubernetes.io/csi/volumeDevices/publish/v/uid-p"
        with_group = pod(securityContext={"fsGroup": 7})
        assert await here.volumes.set_up(with_group, sources(data=block)) == {"data": device}
        assert device.is_file()
        said = here.driver.said("NodeStageVolume")
        assert said["volume_capability"] == {
            "block": {},
            "access_mode": {"mode": "SINGLE_NODE_WRITER"},
        }
        assert said["staging_target_path"].endswith("csi/volumeDevices/staging/v")
        assert here.csi.in_use() == [f"kubernetes.io/csi/{NAME}^h"]
        # After a crash nothing but the record is left to tell of it.
        again = CsiVolumes(here.root, "n", here.services, lambda: None)
        assert await PodVolumes(here.root, csi=again).tear_down("uid-p")
        assert here.driver.said("NodeUnpublishVolume")["target_path"] == str(device)
        assert here.driver.verbs()[-1] == "NodeUnstageVolume"
        assert not device.parent.exists()
        assert again.in_use() == []


@pytest.mark.parametrize("place", ["volume_context", "secrets"])
async def test_a_driver_that_asks_for_tokens_gets_them_and_new_ones_in_time(
    tmp_path: Path, place: str
) -> None:
    wanted = {
        "tokenRequests": [{"audience": "vault"}],
        "requiresRepublish": True,
        "serviceAccountTokenInSecrets": place == "secrets",
    }
    async with node_with_driver(tmp_path, **wanted) as here:
        csi, clock = later(here)
        await csi.set_up(pod(), {"data": persistent()})
        told = here.driver.said("NodePublishVolume")[place]
        tokens = json.loads(told["csi.storage.k8s.io/serviceAccount.tokens"])
        assert tokens == {
            "vault": {"token": "token of p", "expirationTimestamp": "2030-01-01T00:00:00Z"}
        }
        due = csi.due("uid-p")
        assert due is not None
        assert due > clock.monotonic()
        await csi.set_up(pod(), {"data": persistent()})
        assert here.driver.verbs() == ["NodeStageVolume", "NodePublishVolume"]
        clock.ahead += AGAIN_SECONDS
        await csi.set_up(pod(), {"data": persistent()})
        assert here.driver.verbs()[2:] == ["NodePublishVolume"]
        # What fails now does not take the volume away.
        here.driver.failures["NodePublishVolume"] = "no vault"
        clock.ahead += AGAIN_SECONDS
        assert await csi.set_up(pod(), {"data": persistent()})
        here.driver.failures.clear()
        assert await csi.tear_down("uid-p")
        assert csi.due("uid-p") is None


async def test_a_volume_that_became_larger_is_grown_while_it_is_used(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path, (1, 3)) as here:
        csi, clock = later(here)
        client = here.world.client
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = await client.create(
            PERSISTENTVOLUMECLAIMS, {"metadata": {"name": "c", "namespace": "d"}, "spec": spec}
        )
        bound = evolve(persistent(), "spec.claimRef", {"namespace": "d", "name": "c"})
        bound = evolve(bound, "spec.capacity.storage", "2Gi")
        await client.create(PERSISTENTVOLUMES, bound)
        await csi.set_up(pod(), {"data": bound})
        assert "NodeExpandVolume" not in here.driver.verbs()
        status = {
            "capacity": {"storage": "1Gi"},
            "conditions": [{"type": "FileSystemResizePending", "status": "True"}],
        }
        await client.update(
            PERSISTENTVOLUMECLAIMS, evolve(claim, "status", status), subresource="status"
        )
        clock.ahead += AGAIN_SECONDS
        await csi.set_up(pod(), {"data": bound})
        said = here.driver.said("NodeExpandVolume")
        assert said["capacity_range"] == {"required_bytes": 2 << 30}
        assert said["volume_path"].endswith("/mount")
        assert said["staging_target_path"].endswith("/globalmount")
        after = await client.get(PERSISTENTVOLUMECLAIMS, "c", "d")
        assert after["status"]["capacity"] == {"storage": "2Gi"}
        assert not after["status"].get("conditions")
        clock.ahead += AGAIN_SECONDS
        await csi.set_up(pod(), {"data": bound})
        assert here.driver.verbs().count("NodeExpandVolume") == 1
        assert await csi.tear_down("uid-p")


async def test_a_driver_that_measures_tells_how_full_a_volume_is(tmp_path: Path) -> None:
    async with node_with_driver(tmp_path, (1, 2)) as here:
        await here.volumes.set_up(pod(), sources(data=persistent()))
        found = await here.csi.usage("uid-p")
        assert found == {"data": VolumeUse(Space(100, 60, 10, 9), Used(40, 1))}
        assert await here.csi.usage("uid-q") == {}
        here.driver.failures["NodeGetVolumeStats"] = "asleep"
        assert await here.csi.usage("uid-p") == {}
        assert await here.volumes.tear_down("uid-p")
