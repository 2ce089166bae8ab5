"""NFS and iSCSI volumes: which programs are called, with what, and what is said without them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.volumes import network_disks
from minikube_py.agent.kubelet.volumes.network_disks import NetworkDisks, Programs, target_of
from minikube_py.agent.kubelet.volumes.payload import Sources, VolumeError
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.api.core import SECRETS
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock

PROGRAMS = ("mount", "mount.nfs", "iscsiadm", "blkid", "mkfs.ext4")


class Machine:
    """Programs that write down how they were called; devices appear with a login."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.folder = folder
        self.log = folder / "calls"
        self.log.touch()
        self.devices = folder / "devices"
        self.devices.mkdir()
        self.cluster = ModelCluster(VirtualClock())
        self.client = self.cluster.client()
        (folder / "bin").mkdir()
        for name in programs:
            self.make(name)
        self.disks = NetworkDisks(
            folder / "k",
            self.client,
            VirtualClock(),
            Programs(str(folder / "bin")),
            self.devices,
        )

    def make(self, name: str, more: str = "") -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{more}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, *PROGRAMS)
    device = made.devices / "ip-10.0.0.1:3260-iscsi-iqn.x:y-lun-1"
    made.make(
        "iscsiadm", f'case "$*" in *--login*) touch {device};; *--logout*) rm -f {device};; esac'
    )
    made.make("blkid", "exit 2")
    return made


def pod(uid: str = "u", *volumes: Any, **spec: Any) -> Any:
    metadata = {"name": "p", "namespace": "d", "uid": uid}
    return {"metadata": metadata, "spec": {"containers": [], "volumes": list(volumes), **spec}}


def iscsi(**more: Any) -> dict[str, Any]:
    source = {"targetPortal": "10.0.0.1", "iqn": "iqn.x:y", "lun": 1, **more}
    return {"name": "v", "iscsi": source}


async def test_an_nfs_volume_is_mounted_with_its_options(machine: Machine) -> None:
    volume = {"name": "v", "nfs": {"server": "fd00::1", "path": "/srv", "readOnly": True}}
    found = await machine.disks.set_up(pod("u", volume), {})
    folder = machine.folder / "k/pods/u/volumes/kubernetes.io~nfs/v"
    assert found == {"v": folder}
    assert machine.calls() == [f"mount -t nfs -o ro [fd00::1]:/srv {folder}"]


async def test_the_options_of_a_persistent_volume_count(machine: Machine) -> None:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}
    spec = {"nfs": {"server": "s", "path": "/"}, "mountOptions": ["vers=4.2"]}
    await machine.disks.set_up(pod("u", volume), {"v": {"spec": spec}})
    assert "-o ro,vers=4.2 s:/ " in machine.calls()[0]


@pytest.mark.parametrize(
    ("volume", "missing", "package"),
    [
        ({"name": "v", "nfs": {"server": "s", "path": "/"}}, "mount.nfs", "nfs-common"),
        (iscsi(), "iscsiadm", "open-iscsi"),
    ],
)
async def test_a_program_that_is_not_there_is_named_with_its_package(
    tmp_path: Path, volume: Any, missing: str, package: str
) -> None:
    disks = Machine(tmp_path, "mount").disks
    with pytest.raises(VolumeError, match=f"{missing} is not on this node; install {package}"):
        await disks.set_up(pod("u", volume), {})


async def test_a_mount_that_fails_is_quoted(machine: Machine) -> None:
    machine.make("mount", "echo access denied by server; exit 32")
    volume = {"name": "v", "nfs": {"server": "s", "path": "/"}}
    with pytest.raises(VolumeError) as caught:
        await machine.disks.set_up(pod("u", volume), {})
    assert str(caught.value) == (
        'MountVolume.SetUp failed for volume "v" : mount failed: exit status 32\n'
        "Output: access denied by server"
    )


async def test_a_server_that_does_not_answer_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_disks, "PROGRAM_SECONDS", 0.1)
    machine.make("mount", "exec sleep 60")
    volume = {"name": "v", "nfs": {"server": "s", "path": "/"}}
    async with asyncio.timeout(30):
        with pytest.raises(VolumeError, match=r"mount took longer than 0\.1 s"):
            await machine.disks.set_up(pod("u", volume), {})


async def test_a_disk_is_logged_in_to_formatted_mounted_and_given_back(machine: Machine) -> None:
    one, two = pod("u", iscsi()), pod("w", iscsi())
    found = await machine.disks.set_up(one, {})
    folder = machine.folder / "k/pods/u/volumes/kubernetes.io~iscsi/v"
    device = machine.devices / "ip-10.0.0.1:3260-iscsi-iqn.x:y-lun-1"
    assert found == {"v": folder}
    node = "iscsiadm -m node -p 10.0.0.1:3260 -I default -T iqn.x:y"
    database = "iscsiadm -m discoverydb -t sendtargets -p 10.0.0.1:3260 -I default"
    assert machine.calls() == [
        f"{database} -o new",
        f"{database} --discover",
        f"{node} --login",
        f"{node} -o update -n node.startup -v manual",
        f"blkid -p -s TYPE -s PTTYPE -o export {device}",
        f"mkfs.ext4 -F -m0 {device}",
        f"mount -t ext4 {device} {folder}",
    ]
    machine.make("blkid", "echo TYPE=ext4")
    await machine.disks.set_up(two, {})
    assert [line.split()[0] for line in machine.calls()[7:]] == ["blkid", "mount"]
    assert await machine.disks.tear_down("u")
    assert device.exists()
    assert await machine.disks.tear_down("w")
    assert not device.exists()
    assert machine.calls()[-1].endswith("-T iqn.x:y -I default -o delete")


async def test_secrets_are_handed_over_and_never_told(machine: Machine) -> None:
    data = {"node.session.auth.username": "dXNlcg==", "node.session.auth.password": "aGlkZGVu"}
    secret = {"metadata": {"name": "s", "namespace": "d"}, "data": data}
    await machine.client.create(SECRETS, secret)
    volume = iscsi(chapAuthSession=True, secretRef={"name": "s"})
    await machine.disks.set_up(pod("u", volume), {})
    assert any("node.session.auth.password -v hidden" in line for line in machine.calls())
    machine.make("iscsiadm", 'case "$*" in *password*) echo "$*"; exit 1;; esac')
    with pytest.raises(VolumeError) as caught:
        await machine.disks.set_up(pod("w", iscsi(**volume["iscsi"] | {"lun": 2})), {})
    assert "hidden" not in str(caught.value)
    assert "failed to set node.session.auth.password" in str(caught.value)


async def test_a_block_device_is_given_as_it_is(machine: Machine) -> None:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    spec = {"iscsi": iscsi()["iscsi"], "volumeMode": "Block"}
    found = await machine.disks.set_up(pod("u", volume), {"v": {"spec": spec}})
    assert found["v"].parent == machine.devices
    assert not any(line.startswith(("mount", "mkfs")) for line in machine.calls())


async def test_after_a_crash_the_record_tells_what_to_end(machine: Machine) -> None:
    record = machine.folder / "k/pods/u/iscsi/v.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(vars(target_of(iscsi()["iscsi"]))))
    volumes = PodVolumes(machine.folder / "k", disks=machine.disks)
    assert await volumes.tear_down("u")
    assert "--logout" in machine.calls()[0]
    assert not (machine.folder / "k/pods/u").exists()


async def test_kinds_that_only_drivers_have_say_so(tmp_path: Path) -> None:
    volume = {"name": "v", "fc": {"lun": 1}}
    nothing: Any = None
    sources = Sources(config_map=nothing, secret=nothing, token=nothing, fields={}, allocatable={})
    with pytest.raises(VolumeError, match="no volume plugin matched: volumes of kind fc"):
        await PodVolumes(tmp_path).set_up(pod("u", volume), sources)
