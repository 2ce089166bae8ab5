"""Volumes on a node's disk: made when first used, gone when nobody wants them any more."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.pod_mounts import ContainerFiles
from minikube_py.agent.kubelet.volumes.claims import Claims, as_volume
from minikube_py.agent.kubelet.volumes.ownership import give
from minikube_py.agent.kubelet.volumes.payload import Sources, VolumeError
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.agent.local_storage import LocalStorage
from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.local_storage import PROVISIONER, UNWANTED, offer_of
from minikube_py.api.object import Key, get
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.server.controllers import local_storage, persistent_volumes
from tests.harness import World, harness
from tests.unit.server.controllers.volumes import claim, ref, storage_class, volume
from tests.virtual_time import virtual

NOBODY: Any = (None, None, None)
"""Client, informers and clock of who needs none."""


def storage(world: World, root: Path) -> LocalStorage:
    return LocalStorage(root, "n", world.cluster.client("node"), world.informers, world.clock)


async def until(true: Callable[[], object]) -> None:
    """Wait until something is true; threads work, so time is real here."""
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


async def begun(world: World, root: Path) -> LocalStorage:
    await world.client.create(NODES, {"metadata": {"name": "n"}})
    made = storage(world, root)
    world.nursery.start("local storage", made.run())
    await until(lambda: offer_of(node(world)))
    return made


def node(world: World) -> Any:
    return world.cluster.table(NODES)[Key("", "n")].obj


def removed(world: World) -> tuple[str, ...]:
    offer = offer_of(node(world))
    assert offer is not None
    return offer.removed


def bound(world: World) -> Any:
    return world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", "c")].obj


async def test_a_node_says_where_it_keeps_volumes_and_how_much_room_there_is(
    tmp_path: Path,
) -> None:
    async with harness() as world:
        await begun(world, tmp_path / "storage")
        offer = offer_of(node(world))
        assert offer is not None
        assert offer.path == str(tmp_path / "storage")
        assert 0 < offer.available <= offer.total


async def test_what_is_unwanted_goes_and_nothing_else(tmp_path: Path) -> None:
    root, outside = tmp_path / "storage", tmp_path / "outside"
    async with harness() as world:
        await begun(world, root)
        outside.mkdir()
        (outside / "file").write_text("kept")
        for name in ("pvc-a", "pvc-b"):
            (root / name / "deep").mkdir(parents=True)
            (root / name / "link").symlink_to(outside)
        names = "pvc-a,pvc-never,../outside,.hidden"
        await world.client.patch(NODES, "n", {"metadata": {"annotations": {UNWANTED: names}}})
        await until(lambda: removed(world) == ("pvc-a", "pvc-never"))
        assert [entry.name for entry in root.iterdir()] == ["pvc-b"]
        assert (outside / "file").read_text() == "kept"
        await world.client.patch(NODES, "n", {"metadata": {"annotations": {UNWANTED: None}}})
        await until(lambda: removed(world) == ())


def test_a_removal_that_a_crash_interrupted_is_finished_at_the_next_start(tmp_path: Path) -> None:
    made = LocalStorage(tmp_path, "n", *NOBODY)
    (tmp_path / ".going-pvc-a" / "rest").mkdir(parents=True)
    (tmp_path / "pvc-b").mkdir()
    made.prepare()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pvc-b"]


def test_a_removal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    made = LocalStorage(tmp_path, "n", *NOBODY)
    (tmp_path / ".going-pvc-a" / "rest").mkdir(parents=True)
    assert made.remove(["pvc-a"]) == ["pvc-a"]
    assert list(tmp_path.iterdir()) == []


async def test_a_claim_lives_and_dies_with_its_data(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    async with harness() as world:
        world.run(persistent_volumes.CONTROLLER, local_storage.CONTROLLER)
        await begun(world, root)
        late = storage_class("local-path", PROVISIONER, volumeBindingMode="WaitForFirstConsumer")
        await world.client.create(STORAGECLASSES, late)
        notes = {"annotations": {"volume.kubernetes.io/selected-node": "n"}}
        wanted = claim("c", "1Ki", storageClassName="local-path", metadata=notes)
        await world.client.create(PERSISTENTVOLUMECLAIMS, wanted)
        await until(lambda: get(bound(world), "status.phase") == "Bound")
        pod = using("c")
        found = await Claims(world.client).resolve(pod)
        places = await PodVolumes(tmp_path / "kubelet", root).set_up(pod, sources(found))
        (places["data"] / "file").write_text("data")
        [made] = root.iterdir()
        assert made == places["data"]
        assert made.stat().st_mode & 0o777 == 0o777
        await PodVolumes(tmp_path / "kubelet", root).tear_down("uid-p")
        assert (made / "file").read_text() == "data"
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "c", "d")
        await until(lambda: not world.cluster.table(PERSISTENTVOLUMES))
        assert list(root.iterdir()) == []


# --- claims of pods ---


def using(name: str, **more: Any) -> dict[str, Any]:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    metadata = {"name": "p", "namespace": "d", "uid": "uid-p"}
    return {"metadata": metadata, "spec": {"containers": [], "volumes": volumes, **more}}


def sources(persistent: Any) -> Sources:
    return Sources(
        config_map=lambda _: None,
        secret=lambda _: None,
        token=lambda _: "",
        fields={},
        allocatable={},
        persistent=persistent,
    )


async def refused(world: World, pod: Any) -> str:
    with pytest.raises(VolumeError) as caught:
        await Claims(world.client).resolve(pod)
    return str(caught.value)


@virtual
async def test_a_pod_waits_until_its_claim_is_bound_and_says_so() -> None:
    begin = (
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], "
        "failed to process volumes=[data]: error processing PVC d/c: "
    )
    async with harness() as world:
        text = 'failed to fetch PVC from API server: persistentvolumeclaims "c" not found'
        assert await refused(world, using("c")) == begin + text
        made = await world.client.create(PERSISTENTVOLUMECLAIMS, claim("c"))
        assert await refused(world, using("c")) == f"{begin}PVC is not bound"
        named = {**made, "spec": {**made["spec"], "volumeName": "v"}}
        named = await world.client.update(PERSISTENTVOLUMECLAIMS, named)
        done = {**named, "status": {"phase": "Bound"}}
        await world.client.update(PERSISTENTVOLUMECLAIMS, done, subresource="status")
        await world.client.create(PERSISTENTVOLUMES, volume("v", claimRef=ref(claim("other"))))
        uid = made["metadata"]["uid"]
        text = f"found PV object v with unexpected pvc.UID uid-other; expected {uid}"
        assert await refused(world, using("c")) == begin + text
        patch = {"spec": {"claimRef": {"uid": uid}}}
        await world.client.patch(PERSISTENTVOLUMES, "v", patch)
        claims = Claims(world.client)
        assert (await claims.resolve(using("c")))["data"]["metadata"]["name"] == "v"
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "c", "d")
        assert "data" in await claims.resolve(using("c"))


async def test_a_local_volume_that_is_not_there_is_an_error_and_a_host_path_is_one_of_its_kind(
    tmp_path: Path,
) -> None:
    volumes = PodVolumes(tmp_path / "kubelet", tmp_path / "storage")
    missing = volume("v", hostPath=None, local={"path": str(tmp_path / "storage" / "v")})
    missing = {**missing, "spec": {k: v for k, v in missing["spec"].items() if v is not None}}
    assert as_volume("data", missing) == {"name": "data", "local": missing["spec"]["local"]}
    with pytest.raises(VolumeError, match="does not exist"):
        await volumes.set_up(using("c"), sources({"data": missing}))
    host = volume("v", hostPath={"path": str(tmp_path), "type": "Directory"})
    found = await volumes.set_up(using("c"), sources({"data": host}))
    assert found == {"data": tmp_path}


async def test_a_volume_is_given_to_a_group_once_for_each_pod(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "inner").mkdir(parents=True)
    (data / "inner" / "file").write_text("x")
    (data / "inner" / "file").chmod(0o400)
    local = volume("v", hostPath=None, local={"path": str(data)})
    local = {**local, "spec": {k: v for k, v in local["spec"].items() if v is not None}}
    group = os.getgid()
    pod = using("c", securityContext={"fsGroup": group})
    volumes = PodVolumes(tmp_path / "kubelet")
    await volumes.set_up(pod, sources({"data": local}))
    assert data.stat().st_mode & 0o7777 == 0o2775 | (data.stat().st_mode & 0o7777)
    assert (data / "inner" / "file").stat().st_mode & 0o777 == 0o660
    (data / "inner" / "file").chmod(0o400)
    await volumes.set_up(pod, sources({"data": local}))
    assert (data / "inner" / "file").stat().st_mode & 0o777 == 0o400
    give(data, group, "OnRootMismatch")
    assert (data / "inner" / "file").stat().st_mode & 0o777 == 0o400
    give(data, group)
    assert (data / "inner" / "file").stat().st_mode & 0o777 == 0o660


def block_volume(path: Path, mode: str) -> Any:
    made = volume("v", volumeMode=mode, local={"path": str(path)})
    spec = {key: value for key, value in made["spec"].items() if key != "hostPath"}
    return {**made, "spec": spec}


async def test_a_block_device_is_given_to_a_container_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, folder = tmp_path / "disk", tmp_path / "folder"
    disk.touch()
    folder.mkdir()
    monkeypatch.setattr(Path, "is_block_device", lambda path: path.name == "disk")
    volumes, pod = PodVolumes(tmp_path / "kubelet"), using("c")
    found = await volumes.set_up(pod, sources({"data": block_volume(disk, "Block")}))
    assert found == {"data": disk}
    for path, mode, why in (
        (disk, "Filesystem", "is a block device"),
        (folder, "Block", "is no block device"),
    ):
        with pytest.raises(VolumeError, match=why):
            await volumes.set_up(pod, sources({"data": block_volume(path, mode)}))
    wanted = {"name": "c", "volumeDevices": [{"name": "data", "devicePath": "/dev/xvda"}]}

    def files(found: Any) -> ContainerFiles:
        spec = Spec(wanted, "containers")
        given: dict[str, Any] = {"pod": pod, "spec": spec, "folder": tmp_path, "env": {}}
        return ContainerFiles(**given, volumes=found, ips=(), domain="", attempt=0)

    [device] = files(found).devices()
    assert device.message() == {
        "container_path": "/dev/xvda",
        "host_path": str(disk),
        "permissions": "mrw",
    }
    for missing in ({}, {"data": folder}):
        with pytest.raises(VolumeError, match='cannot find volume "data" to pass into container'):
            files(missing).devices()
