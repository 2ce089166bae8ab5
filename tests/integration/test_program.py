"""`kpy` as a process: it starts, stops in time, goes on where it was, and refuses in one line."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.program import KPY, STOP_SECONDS_MAX, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def refusal(*line: str) -> str:
    """Run a command that must refuse; return its one line."""
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode not in (0, None)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert not done.stdout
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_and_a_signal_stops_it(server: Server, number: signal.Signals) -> None:
    server.start()
    status, seconds = server.stop(number)
    assert status == 0, server.log.read_text()
    assert seconds < STOP_SECONDS_MAX
    assert "Traceback" not in server.log.read_text()


def test_a_signal_ends_watches_in_good_order(server: Server) -> None:
    server.start()
    server.kubectl("create", "configmap", "watched")
    line = [str(KPY.parent / "kubectl"), "--kubeconfig", str(server.folder / "kubeconfig")]
    watch = subprocess.Popen(
        [*line, "get", "configmaps", "--watch", "--output=name"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    # What is there is listed; only what comes later shows that the watch has begun.
    assert watch.stdout.readline().startswith("configmap/")
    server.kubectl("create", "configmap", "zz-later")
    while watch.stdout.readline() != "configmap/zz-later\n":
        assert watch.poll() is None
    status, seconds = server.stop()
    assert (status, seconds < STOP_SECONDS_MAX) == (0, True)
    _, errors = watch.communicate(timeout=6 * STOP_SECONDS_MAX)
    assert (watch.returncode, errors) == (0, "")


def test_what_was_acknowledged_survives_a_kill(server: Server) -> None:
    server.start()
    server.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    before = server.kubectl("get", "configmap", "kept", "-o", "yaml")
    server.stop(signal.SIGKILL)
    server.start()
    assert server.kubectl("get", "configmap", "kept", "-o", "yaml") == before


def test_a_second_server_on_the_same_folder_is_refused(server: Server) -> None:
    server.start()
    line = [part for part in server.line() if "listen-port" not in part]
    text = refusal(*line, f"--https-listen-port={free_port()}")
    assert "is in use by process" in text
    assert server.is_ready()


def test_a_port_in_use_is_refused_before_anything_is_made(server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        text = refusal(*server.line())
    assert text == (
        f"error: cannot listen on 127.0.0.1 port {server.port}: address already in use; "
        "stop the other server or pass --https-listen-port"
    )
    assert not (server.folder / "data").exists()


def test_a_data_dir_that_cannot_be_used_is_named(server: Server) -> None:
    (server.folder / "data").write_text("")
    assert "error: cannot use folder" in refusal(*server.line())


def test_an_unknown_key_names_the_nearest(server: Server) -> None:
    file = server.folder / "config.yaml"
    file.write_text("data-dir: /x\nclustr-cidr: 10.0.0.0/8\n")
    assert refusal(*server.line("--config", str(file))) == (
        f"error: {file}:2: unknown key 'clustr-cidr'; the nearest known one is 'cluster_cidr'"
    )
    assert not (server.folder / "data").exists()


def test_an_agent_without_a_token_says_where_to_get_one(tmp_path: Path) -> None:
    text = refusal(
        str(KPY), "agent", "--server", "https://127.0.0.1:1", "--data-dir", str(tmp_path)
    )
    assert text == "error: no token; pass --token with what `kpy token` prints on the server"


def test_the_token_command_prints_the_token(server: Server) -> None:
    data = f"--data-dir={server.folder / 'data'}"
    assert "start `kpy server` first" in refusal(str(KPY), "token", data)
    server.start()
    shown = subprocess.run([str(KPY), "token", data], check=True, capture_output=True, text=True)
    assert shown.stdout == (server.folder / "data" / "server" / "token").read_text()
    assert "::server:" not in server.log.read_text()


def test_kubectl_is_handed_the_kubeconfig(server: Server) -> None:
    server.start()
    environ = {**os.environ, "KPY_WRITE_KUBECONFIG": str(server.folder / "kubeconfig")}
    environ.pop("KUBECONFIG", None)
    line = [str(KPY), "kubectl", "get", "--raw", "/version"]
    shown = subprocess.run(line, check=True, capture_output=True, text=True, env=environ)
    assert '"gitVersion": "v1.36' in shown.stdout
