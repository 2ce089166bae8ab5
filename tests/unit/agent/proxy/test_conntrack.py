"""What the kernel is told of connections: limits as upstream's, stale ones by their words."""

import os
from pathlib import Path

from minikube_py.agent.proxy import conntrack


def switches(folder: Path, connections: str) -> Path:
    names = [*conntrack.SWITCHES, conntrack.CONNECTIONS]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("60\n")
    (folder / conntrack.CONNECTIONS).write_text(connections)
    return folder


def test_connections_live_as_long_as_kube_proxy_says(tmp_path: Path) -> None:
    conntrack.set_limits(switches(tmp_path, "7\n"))
    for name, value in conntrack.SWITCHES.items():
        assert (tmp_path / name).read_text() == value
    wanted = max(conntrack.CONNECTIONS_MIN, conntrack.PER_CORE * (os.cpu_count() or 1))
    assert (tmp_path / conntrack.CONNECTIONS).read_text() == str(wanted)


def test_more_connections_than_asked_for_are_left_alone(tmp_path: Path) -> None:
    conntrack.set_limits(switches(tmp_path, "99999999\n"))
    assert (tmp_path / conntrack.CONNECTIONS).read_text() == "99999999\n"


def test_a_kernel_without_the_switches_is_no_fault(tmp_path: Path) -> None:
    conntrack.set_limits(tmp_path)
    assert list(tmp_path.iterdir()) == []
