"""The images are proper OCI layouts, and the same inputs give the same bytes."""

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "packaging/images/build_images.py"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_images"] = module
    spec.loader.exec_module(module)
    return module


def files_of(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            member.name: content.read()
            for member in tar
            if (content := tar.extractfile(member) if member.isreg() else None)
        }


def layer_of(archive: bytes) -> bytes:
    files = files_of(archive)
    index = json.loads(files["index.json"])
    manifest = json.loads(files[blob(index["manifests"][0]["digest"])])
    return files[blob(manifest["layers"][0]["digest"])]


def blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def test_an_archive_is_the_same_each_time_it_is_built(build: ModuleType) -> None:
    archives = {build.archive_of(build.pause_image(), "amd64") for _ in range(2)}
    assert len(archives) == 1


def test_every_blob_has_the_digest_and_size_that_refer_to_it(build: ModuleType) -> None:
    files = files_of(build.archive_of(build.pause_image(), "amd64"))
    manifest_descriptor = json.loads(files["index.json"])["manifests"][0]
    manifest = json.loads(files[blob(manifest_descriptor["digest"])])
    for descriptor in (manifest_descriptor, manifest["config"], *manifest["layers"]):
        data = files[blob(descriptor["digest"])]
        assert descriptor["size"] == len(data)
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    config = json.loads(files[blob(manifest["config"]["digest"])])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]


def test_the_archive_names_the_image_for_containerd(build: ModuleType) -> None:
    files = files_of(build.archive_of(build.pause_image(), "amd64"))
    annotations = json.loads(files["index.json"])["manifests"][0]["annotations"]
    assert annotations["io.containerd.image.name"] == "kpy.local/pause:1"


def test_pause_is_one_small_static_program(build: ModuleType) -> None:
    files = files_of(layer_of(build.archive_of(build.pause_image(), "amd64")))
    assert list(files) == ["pause"]
    assert len(files["pause"]) < 1024
    assert build.is_static(files["pause"])


def test_busybox_has_a_link_for_every_applet_and_the_users_of_a_shell(build: ModuleType) -> None:
    archive = build.archive_of(build.busybox_image(Path("/bin/busybox")), "amd64")
    with tarfile.open(fileobj=io.BytesIO(layer_of(archive))) as tar:
        members = {member.name: member for member in tar}
    assert members["bin/sh"].linkname == "busybox"
    assert members["bin/httpd"].issym()
    assert members["tmp"].mode == 0o1777
    assert {member.mtime for member in members.values()} == {0}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}


def test_a_dynamic_busybox_is_refused_with_the_package_to_install(build: ModuleType) -> None:
    with pytest.raises(build.BuildError, match="install the package busybox-static"):
        build.busybox_image(Path("/usr/bin/env"))


def test_a_missing_busybox_is_refused_with_the_package_to_install(build: ModuleType) -> None:
    with pytest.raises(build.BuildError, match="install the package busybox-static"):
        build.busybox_image(Path("/nonexistent/busybox"))
