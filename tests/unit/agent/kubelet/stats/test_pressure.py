"""Time lost for want of processors, memory and disks: read, and shown on the kubelet's pages."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.stats import cadvisor, pressure
from minikube_py.agent.kubelet.stats.pressure import Pressure, Stall, parse, read
from minikube_py.agent.kubelet.stats.sample import Sample, Sampler
from minikube_py.agent.kubelet.stats.summary import Measured, NodeWords, summary
from tests.unit.agent.kubelet.machines import record

SOME = "some avg10=1.50 avg60=0.25 avg300=0.01 total=2500000\n"
FULL = "full avg10=0.50 avg60=0.00 avg300=0.00 total=1000000\n"


def test_both_lines_of_the_kernel_are_read_and_older_kernels_have_one() -> None:
    whole = Pressure(full=Stall(1000000, 0.5, 0.0, 0.0), some=Stall(2500000, 1.5, 0.25, 0.01))
    assert parse(SOME + FULL) == whole
    assert parse(SOME).full == Stall(0, 0.0, 0.0, 0.0)


def test_a_group_has_the_pressure_that_its_files_tell(tmp_path: Path) -> None:
    record(tmp_path, {"kubepods/memory.pressure": SOME + FULL, "kubepods/io.pressure": ""})
    (tmp_path / "kubepods/io.pressure").write_text("")
    assert read(Cgroups(unified=tmp_path), "/kubepods") == {"memory": parse(SOME + FULL)}
    assert read(Cgroups(), "/kubepods") == {}


def document(seen: Sample) -> Any:
    words = NodeWords(
        name="n", booted=datetime(2026, 1, 1, tzinfo=UTC), memory_bytes=1000, pids_max=1, pids=1
    )
    return summary(Measured(words, seen, {}))


def test_pressure_stands_in_the_summary_and_on_the_page_of_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = record(tmp_path / "proc", {"cpu": SOME})
    monkeypatch.setattr(pressure, "MACHINE", machine)
    files = {f"kubepods/{kind}.pressure": SOME + FULL for kind in ("cpu", "memory", "io")}
    files |= {"kubepods/cpu.stat": "usage_usec 5", "kubepods/memory.current": "7"}
    trees = Cgroups(unified=record(tmp_path, files))
    seen: Sample = Sampler(trees, lambda: ()).take(())
    [pods] = document(seen)["node"]["systemContainers"]
    psi = {
        "full": {"total": 1000000, "avg10": 0.5, "avg60": 0.0, "avg300": 0.0},
        "some": {"total": 2500000, "avg10": 1.5, "avg60": 0.25, "avg300": 0.01},
    }
    assert [pods[kind]["psi"] for kind in ("cpu", "memory", "io")] == [psi, psi, psi]
    page = list(cadvisor.lines(seen, cadvisor.Machine(2, 1000, "b", "m", "s")))
    assert any(line.startswith("container_pressure_cpu_waiting_seconds_total{") for line in page)
