"""Volumes in temporary folders: payloads, the swap of links, types of host paths, sub-paths."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.agent.kubelet.volumes import atomic_writer
from minikube_py.agent.kubelet.volumes.atomic_writer import File, write
from minikube_py.agent.kubelet.volumes.kinds import Place, kind_of, set_up
from minikube_py.agent.kubelet.volumes.payload import (
    Sources,
    VolumeError,
    config_map_files,
    downward_files,
    projected_files,
    secret_files,
    token_ownership,
)
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.agent.kubelet.volumes.subpath import prepare
from tests.unit.agent.kubelet.builders import container, pod


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


MAPS = {"conf": {"data": {"a": "1", "b": "2"}, "binaryData": {"raw": b64(b"\x00\xff")}}}
SECRETS = {"keys": {"data": {"token": b64(b"s3cret")}}}
SOURCES = Sources(
    config_map=MAPS.get,
    secret=SECRETS.get,
    token=lambda source: f"token for {source.get('audience', 'the cluster')}",
    fields={},
    allocatable={"cpu": "4"},
)


def contents(folder: Path) -> dict[str, str]:
    links = [path for path in folder.iterdir() if not path.name.startswith("..")]
    files = [file for link in links for file in ([link] if link.is_file() else link.rglob("*"))]
    return {str(f.relative_to(folder)): f.read_text() for f in files if f.is_file()}


# --- payloads -----------------------------------------------------------------------------------


def test_a_config_map_becomes_its_keys():
    assert config_map_files({"name": "conf"}, SOURCES, 0o644) == {
        "a": File(b"1", 0o644),
        "b": File(b"2", 0o644),
        "raw": File(b"\x00\xff", 0o644),
    }


def test_items_choose_rename_and_set_modes():
    source = {
        "name": "conf",
        "items": [{"key": "a", "path": "d/x", "mode": 0o400}, {"key": "b", "path": "y"}],
    }
    assert config_map_files(source, SOURCES, 0o644) == {
        "d/x": File(b"1", 0o400),
        "y": File(b"2", 0o644),
    }


def test_a_secret_is_named_in_two_ways():
    expected = {"token": File(b"s3cret", 0o600)}
    assert secret_files({"secretName": "keys"}, SOURCES, 0o600) == expected
    assert secret_files({"name": "keys"}, SOURCES, 0o600) == expected


@pytest.mark.parametrize(
    ("files", "source", "message"),
    [
        (config_map_files, {"name": "no"}, 'configmap "no" not found'),
        (secret_files, {"secretName": "no"}, 'secret "no" not found'),
        (
            config_map_files,
            {"name": "conf", "items": [{"key": "no", "path": "x"}]},
            "configmap references non-existent config key: no",
        ),
        (
            secret_files,
            {"name": "keys", "items": [{"key": "no", "path": "x"}]},
            "references non-existent secret key: no",
        ),
        (config_map_files, {"name": "conf", "items": [{"key": "a", "path": "../x"}]}, "relative"),
        (config_map_files, {"name": "conf", "items": [{"key": "a", "path": "/x"}]}, "relative"),
    ],
)
def test_what_is_missing_is_an_error(files, source, message):
    with pytest.raises(VolumeError, match=message):
        files(source, SOURCES, 0o644)


def test_what_is_missing_and_optional_is_left_out():
    assert config_map_files({"name": "no", "optional": True}, SOURCES, 0o644) == {}
    source = {"name": "conf", "optional": True, "items": [{"key": "no", "path": "x"}]}
    assert config_map_files(source, SOURCES, 0o644) == {}


def test_the_downward_api_gives_fields_and_resources():
    source = {
        "items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {
                "path": "cpu",
                "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"},
                "mode": 0o400,
            },
        ]
    }
    a_pod = pod(metadata={"labels": {"app": "web"}})
    assert downward_files(a_pod, source, SOURCES, 0o644) == {
        "labels": File(b'app="web"', 0o644),
        "cpu": File(b"4", 0o400),
    }


def test_a_projection_joins_its_sources():
    source = {
        "defaultMode": 0o640,
        "sources": [
            {"configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}]}},
            {"secret": {"name": "keys"}},
            {
                "downwardAPI": {
                    "items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                }
            },
            {"serviceAccountToken": {"path": "sa/token", "audience": "vault"}},
        ],
    }
    assert projected_files(pod(), source, SOURCES, (0o600, 1000)) == {
        "a": File(b"1", 0o640),
        "token": File(b"s3cret", 0o640),
        "ns": File(b"default", 0o640),
        "sa/token": File(b"token for vault", 0o600, 1000),
    }


def test_a_projection_that_is_not_known_is_refused():
    with pytest.raises(VolumeError, match="clusterTrustBundle is not supported"):
        projected_files(pod(), {"sources": [{"clusterTrustBundle": {}}]}, SOURCES, (0o600, None))


@pytest.mark.parametrize(
    ("a_pod", "group", "expected"),
    [
        (pod(), None, (0o644, None)),
        (pod(), 2000, (0o600, None)),
        (pod(securityContext={"runAsUser": 1000}), None, (0o600, 1000)),
        (pod([container(securityContext={"runAsUser": 7})]), None, (0o600, 7)),
        (
            pod([container(securityContext={"runAsUser": 7}), container("d")]),
            None,
            (0o644, None),
        ),
    ],
)
def test_a_token_is_for_those_who_need_it(a_pod, group, expected):
    assert token_ownership(a_pod, group) == expected


# --- the swap -----------------------------------------------------------------------------------


def test_files_are_links_through_data(tmp_path):
    assert write(tmp_path, {"a": File(b"1", 0o600), "d/x": File(b"2", 0o644)})
    assert contents(tmp_path) == {"a": "1", "d/x": "2"}
    assert str((tmp_path / "a").readlink()) == "..data/a"
    assert str((tmp_path / "d").readlink()) == "..data/d"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_what_is_the_same_is_not_written_again(tmp_path):
    payload = {"a": File(b"1", 0o600)}
    assert write(tmp_path, payload)
    before = (tmp_path / "..data").readlink()
    assert not write(tmp_path, payload)
    assert (tmp_path / "..data").readlink() == before


def test_an_update_replaces_all_and_leaves_nothing_behind(tmp_path):
    write(tmp_path, {"a": File(b"1", 0o600), "gone/x": File(b"2", 0o600)})
    assert write(tmp_path, {"a": File(b"3", 0o600), "new": File(b"4", 0o600)})
    assert contents(tmp_path) == {"a": "3", "new": "4"}
    hidden = sorted(path.name[:3] for path in tmp_path.iterdir() if path.name.startswith(".."))
    assert hidden == ["..2", "..d"]


def test_a_reader_that_holds_the_old_version_sees_all_of_it(tmp_path):
    write(tmp_path, {"a": File(b"1", 0o600)})
    with (tmp_path / "a").open() as old:
        write(tmp_path, {"a": File(b"2", 0o600)})
        assert old.read() == "1"


def test_members_of_the_group_may_read(tmp_path):
    write(tmp_path, {"d/a": File(b"1", 0o600)}, group=4321)
    found = (tmp_path / "d" / "a").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (4321, 0o640)
    folder = (tmp_path / "d").stat()
    assert (folder.st_gid, stat.S_IMODE(folder.st_mode)) == (4321, 0o2755)


def test_a_write_that_was_killed_half_way_does_no_harm(tmp_path, monkeypatch):
    write(tmp_path, {"a": File(b"1", 0o600)})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, {"a": File(b"2", 0o600)})
    assert contents(tmp_path) == {"a": "1"}
    assert write(tmp_path, {"a": File(b"3", 0o600)})
    assert contents(tmp_path) == {"a": "3"}


PAYLOADS = st.dictionaries(
    st.sampled_from(["a", "b", "d/x", "d/y", "e/f/g"]),
    st.binary(max_size=3).map(lambda data: File(data, 0o644)),
)


@given(st.lists(PAYLOADS, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_after_any_writes_the_folder_holds_the_last_payload(tmp_path_factory, payloads):
    folder = tmp_path_factory.mktemp("volume")
    for payload in payloads:
        write(folder, payload)
    found = {
        name: (folder / name).read_bytes()
        for name in ["a", "b", "d/x", "d/y", "e/f/g"]
        if (folder / name).exists()
    }
    assert found == {name: file.data for name, file in (payloads or [{}])[-1].items()}


# --- kinds --------------------------------------------------------------------------------------


def place(folder: Path, group: int | None = None) -> Place:
    return Place(pod(), folder / "v", SOURCES, group)


def test_an_empty_dir_is_for_all(tmp_path):
    path = set_up({"name": "v", "emptyDir": {}}, place(tmp_path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    (path / "kept").touch()
    assert set_up({"name": "v", "emptyDir": {}}, place(tmp_path)) == path
    assert (path / "kept").exists()


def test_an_empty_dir_belongs_to_the_group(tmp_path):
    path = set_up({"name": "v", "emptyDir": {}}, place(tmp_path, 4321))
    assert path.stat().st_gid == 4321
    assert stat.S_IMODE(path.stat().st_mode) == 0o2777


def test_an_unknown_medium_is_an_error(tmp_path):
    with pytest.raises(VolumeError, match='unknown storage medium "Tape"'):
        set_up({"name": "v", "emptyDir": {"medium": "Tape"}}, place(tmp_path))


def test_a_config_map_volume_follows_its_object(tmp_path):
    path = set_up({"name": "v", "configMap": {"name": "conf"}}, place(tmp_path))
    assert (path / "a").read_text() == "1"
    assert stat.S_IMODE((path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("kind", "made", "message"),
    [
        ("Directory", "dir", None),
        ("Directory", "file", "is not a directory"),
        ("Directory", None, "is not a directory"),
        ("DirectoryOrCreate", None, None),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("File", "file", None),
        ("File", "dir", "is not a file"),
        ("FileOrCreate", None, None),
        ("Socket", "file", "is not a socket file"),
        ("CharDevice", "file", "is not a character device"),
        ("BlockDevice", "file", "is not a block device"),
        ("", None, None),
    ],
)
def test_a_host_path_is_checked_by_its_type(tmp_path, kind, made, message):
    path = tmp_path / "host"
    if made == "dir":
        path.mkdir()
    elif made == "file":
        path.touch()
    volume = {"name": "v", "hostPath": {"path": str(path), "type": kind}}
    if message is None:
        assert set_up(volume, place(tmp_path)) == path
        assert path.exists() == bool(kind)
    else:
        with pytest.raises(VolumeError, match=f"hostPath type check failed: .* {message}"):
            set_up(volume, place(tmp_path))


def test_a_kind_that_is_not_known_is_named():
    with pytest.raises(VolumeError, match="volumes of kind nfs are not supported"):
        kind_of({"name": "v", "nfs": {}})


async def test_a_pod_s_volumes_come_and_go(tmp_path):
    volumes = PodVolumes(tmp_path)
    both = [{"name": "e", "emptyDir": {}}, {"name": "m", "configMap": {"name": "conf"}}]
    found = await volumes.set_up(pod(volumes=both), SOURCES)
    base = tmp_path / "pods" / "u" / "volumes"
    assert found == {
        "e": base / "kubernetes.io~empty-dir" / "e",
        "m": base / "kubernetes.io~configmap" / "m",
    }
    assert list(volumes.uids()) == ["u"]
    assert await volumes.tear_down("u")
    assert await volumes.tear_down("u")
    assert list(volumes.uids()) == []


async def test_a_volume_that_fails_is_named(tmp_path):
    wanted = [{"name": "m", "configMap": {"name": "no"}}]
    with pytest.raises(VolumeError) as error:
        await PodVolumes(tmp_path).set_up(pod(volumes=wanted), SOURCES)
    assert str(error.value) == (
        'MountVolume.SetUp failed for volume "m" : configmap "no" not found'
    )


# --- sub-paths: the mount itself is made by the kernel, in the tests of the node ----------------


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Note what would be mounted instead of mounting it."""
    module = "minikube_py.agent.kubelet.volumes.subpath"
    seen: list[Path] = []
    monkeypatch.setattr(f"{module}.mount_bind", lambda source, _: seen.append(source.readlink()))
    monkeypatch.setattr(f"{module}.is_mount_point", lambda _: False)
    return seen


def test_a_sub_path_that_is_missing_is_made_like_the_volume(tmp_path, bound):
    volume = tmp_path / "v"
    volume.mkdir()
    volume.chmod(0o2770)
    prepare(volume, "a/b", tmp_path / "t")
    assert bound == [volume / "a" / "b"]
    assert stat.S_IMODE((volume / "a" / "b").stat().st_mode) == 0o2770


def test_a_sub_path_may_be_a_file_and_go_through_links_inside(tmp_path, bound):
    volume = tmp_path / "v"
    volume.mkdir()
    atomic_writer.write(volume, {"key": File(b"1", 0o644)})
    target = tmp_path / "deep" / "t"
    prepare(volume, "key", target)
    assert bound[0].name == "key"
    assert target.is_file()


@pytest.mark.parametrize("inside", ["link", "link/x", "dir/up"])
def test_a_sub_path_never_leaves_its_volume(tmp_path, bound, inside):
    (tmp_path / "secret").mkdir()
    volume = tmp_path / "v"
    (volume / "dir").mkdir(parents=True)
    (volume / "link").symlink_to(tmp_path / "secret")
    (volume / "dir" / "up").symlink_to("../../secret")
    with pytest.raises(VolumeError, match="not within the volume"):
        prepare(volume, inside, tmp_path / "t")
    assert bound == []
    assert list((tmp_path / "secret").iterdir()) == []
