"""`kpy check` finds what is lacking and names the package that has it."""

from pathlib import Path

import pytest

from minikube_py.cli.check import CNI_PLUGINS, Finding, examine, report, require
from minikube_py.lib.errors import StartError


def machine(root: Path) -> None:
    """Make a folder look like a machine that has all."""
    for path in ("usr/lib/cni", "proc/sys/net/bridge", "sys/fs/cgroup", "var/lib"):
        (root / path).mkdir(parents=True)
    for plugin in CNI_PLUGINS:
        (root / "usr/lib/cni" / plugin).touch()
    (root / "proc/filesystems").write_text("nodev\toverlay\n\text4\n")
    (root / "proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory pids io\n")


def lacking(root: Path) -> dict[str, str]:
    """Return what a machine lacks beside its programs, by name."""
    programs = ("rights", "containerd", "runc", "nft", "disk")
    found = [f for f in examine(root) if not f.is_there and f.name not in programs]
    return {finding.name: finding.detail for finding in found}


def test_a_whole_machine_lacks_nothing(tmp_path: Path) -> None:
    machine(tmp_path)
    assert lacking(tmp_path) == {}


def test_version_1_of_cgroups_counts_too(tmp_path: Path) -> None:
    machine(tmp_path)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").unlink()
    for name in ("cpu", "memory", "pids"):
        (tmp_path / "sys/fs/cgroup" / name).mkdir()
    assert lacking(tmp_path) == {}


def test_each_lack_has_its_remedy(tmp_path: Path) -> None:
    found = lacking(tmp_path)
    assert "apt-get install containernetworking-plugins" in found["CNI plugins"]
    assert found["overlayfs"] == "modprobe overlay"
    assert found["cgroup controllers"].startswith("cpu, memory, pids missing")


def test_programs_name_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    by_name = {finding.name: finding for finding in examine(tmp_path)}
    assert by_name["containerd"].detail.endswith("apt-get install containerd")
    assert not by_name["nft"].is_there
    assert "containerd" not in {f.name for f in examine(tmp_path, own_runtime=False)}


def test_what_is_required_stops_a_start_and_what_is_not_does_not() -> None:
    optional = Finding("x", "y", is_there=False, is_required=False)
    require([optional])
    with pytest.raises(StartError, match="this machine has no nft: install it"):
        require([optional, Finding("nft", "install it", is_there=False)])


def test_the_report_ends_with_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Finding("a", "fine", is_there=True)]) == 0
    assert report([Finding("a", "make it", is_there=False)]) == 1
    assert capsys.readouterr().out == "ok   a: fine\nLACK a: make it\n"
