"""What containerd is told, and which archives are imported."""

import io
import json
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent import containerd
from minikube_py.agent.containerd import Containerd, ContainerdConfig, is_overlay
from minikube_py.agent.image_archives import names_in
from minikube_py.lib.errors import StartError


def config(folder: Path) -> ContainerdConfig:
    return ContainerdConfig(
        folder=folder, pause_image="kpy.local/pause:1", cni_conf_dir=folder / "cni"
    )


@pytest.mark.parametrize(("may", "restricted", "score"), [(True, False, -999), (False, True, 0)])
def test_the_configuration_follows_from_the_rights_of_kpy(
    tmp_path, monkeypatch, may, restricted, score
):
    monkeypatch.setattr(containerd, "has_capability", lambda _: may)
    told = tomllib.loads(config(tmp_path).text())
    cri = told["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is restricted
    assert told["oom_score"] == score
    assert cri["sandbox_image"] == "kpy.local/pause:1"
    assert told["root"].startswith(str(tmp_path))
    assert told["grpc"]["address"] == str(config(tmp_path).socket)


@pytest.mark.parametrize(("overlay", "kind"), [(True, "native"), (False, "overlayfs")])
def test_overlays_are_not_stacked(tmp_path, monkeypatch, overlay, kind):
    monkeypatch.setattr(containerd, "is_overlay", lambda _: overlay)
    told = tomllib.loads(config(tmp_path).text())
    assert told["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["snapshotter"] == kind


@pytest.mark.parametrize(
    ("there", "default"), [(["runc", "crun"], "runc"), (["crun"], "crun"), (["runc"], "runc")]
)
def test_every_runtime_that_is_installed_is_a_handler(tmp_path, monkeypatch, there, default):
    monkeypatch.setattr(
        containerd.shutil, "which", lambda name: f"/bin/{name}" if name in there else None
    )
    told = tomllib.loads(config(tmp_path).text())
    cri = told["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]
    assert cri["default_runtime_name"] == default
    found = {name: one["options"]["BinaryName"] for name, one in cri["runtimes"].items()}
    assert found == {name: f"/bin/{name}" for name in there}


def test_the_file_system_of_a_folder_is_that_of_its_mount():
    assert not is_overlay(Path("/proc/self"))


async def test_a_missing_containerd_names_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match=r"containerd is missing; install it \(apt-get install"):
        await Containerd(config(tmp_path)).start()


async def test_a_folder_with_too_long_a_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(containerd.shutil, "which", lambda _: "/usr/bin/true")
    with pytest.raises(StartError, match="at most 106 are possible; choose a shorter --data-dir"):
        await Containerd(config(tmp_path / ("x" * 100))).start()


def archive(path: Path, name: str, content: Any) -> Path:
    data = json.dumps(content).encode()
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return path


def test_an_oci_archive_names_its_images(tmp_path):
    manifests = [
        {"annotations": {"io.containerd.image.name": "a/b:1"}},
        {"annotations": {"io.containerd.image.name": "a/a:1"}},
        {},
    ]
    path = archive(tmp_path / "x.tar", "./index.json", {"manifests": manifests})
    assert names_in(path) == ["a/a:1", "a/b:1"]


def test_a_docker_archive_names_its_images(tmp_path):
    content = [{"RepoTags": ["a:1", "b:1"]}, {"RepoTags": None}]
    assert names_in(archive(tmp_path / "x.tar", "manifest.json", content)) == ["a:1", "b:1"]


def test_what_is_no_archive_is_an_error(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is no image archive"):
        names_in(path)
