"""Devices of the Container Device Interface, resolved for runtimes that do not know it."""

import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.cdi import CdiError, extras_of, knows_cdi, read

KIND = "example.com/gpu"


def spec(*devices: Any, **edits: Any) -> dict[str, Any]:
    return {"cdiVersion": "0.6.0", "kind": KIND, "devices": devices, "containerEdits": edits}


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("containerd://1.6.20~ds1", False),
        ("containerd://v1.7.0", True),
        ("containerd://2.1.4", True),
        ("cri-o://1.20.0", True),
    ],
)
def test_only_old_containerds_do_not_know_it(version: str, *, known: bool) -> None:
    assert knows_cdi(version) is known


def test_a_device_means_variables_mounts_and_nodes_and_what_all_of_its_kind_mean() -> None:
    mount = {"hostPath": "/lib/x.so", "containerPath": "/x.so", "options": ["ro", "bind"]}
    one = device("0", env=["GPU=0"], deviceNodes=[{"path": "/dev/gpu0", "permissions": "rw"}])
    both = spec(one, device("1", env=["GPU=1"]), env=["ALL=1"], mounts=[mount])
    found = extras_of([f"{KIND}=0", f"{KIND}=1", f"{KIND}=0"], [both])
    assert found.env == {"ALL": "1", "GPU": "1"}
    [shown] = found.mounts
    assert (str(shown.host_path), shown.container_path, shown.read_only) == (
        "/lib/x.so",
        "/x.so",
        True,
    )
    [node] = found.devices
    assert (str(node.host_path), node.container_path, node.permissions) == (
        "/dev/gpu0",
        "/dev/gpu0",
        "rw",
    )


def test_what_cannot_be_resolved_is_an_error() -> None:
    with pytest.raises(CdiError, match=f"unresolvable CDI devices {KIND}=9"):
        extras_of([f"{KIND}=9"], [spec(device("0"))])
    with pytest.raises(CdiError, match="has hooks"):
        extras_of([f"{KIND}=0"], [spec(device("0", hooks=[{"path": "/x"}]))])


def test_the_last_folder_goes_before_the_others_and_broken_files_are_passed_over(
    tmp_path: Path,
) -> None:
    first, last = tmp_path / "etc", tmp_path / "run"
    for folder, value in ((first, "old"), (last, "new")):
        folder.mkdir()
        text = json.dumps(spec(device("0", env=[f"GPU={value}"])))
        (folder / "vendor.json").write_text(text)
    (last / "a.yaml").write_text("[unclosed")
    (last / "notes.txt").write_text("x")
    (last / "b.yaml").write_text("kind: a/b\ndevices:\n- name: c\n  containerEdits: {env: [X=1]}")
    specs = read((first, last))
    assert len(specs) == 3
    assert extras_of([f"{KIND}=0", "a/b=c"], specs).env == {"GPU": "new", "X": "1"}
    assert read((tmp_path / "none",)) == []
