"""kubectl of every minor reaches into containers, over WebSockets and over SPDY."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.clients.conftest import BOX
from tests.e2e.clients.programs import Program
from tests.e2e.test_main_job import pod

pytestmark = pytest.mark.e2e
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
TRANSPORTS = pytest.mark.parametrize("transport", [{}, SPDY], ids=["default", "spdy"])
ON_BOX = (BOX, "-c", "c")


@pytest.mark.conformance("Kubectl logs logs should be able to retrieve and filter logs")
def test_logs_are_shown_filtered_and_followed(k: Program) -> None:
    assert k("logs", *ON_BOX).startswith("started\nagain\n")
    assert k("logs", *ON_BOX, "--tail=1") == "again\n"
    assert k("logs", *ON_BOX, "--limit-bytes=3") == "sta"
    stamped = k("logs", *ON_BOX, "--timestamps", "--tail=1").split()
    assert stamped[1] == "again"
    assert stamped[0].startswith("20")
    assert k("logs", *ON_BOX, "--since=24h") == "started\nagain\n"
    assert k("logs", "-l", f"app={BOX}", "--all-containers", "--prefix") == (
        f"[pod/{BOX}/c] started\n[pod/{BOX}/c] again\n"
    )
    assert "container nothing is not valid for pod box" in k.fails("logs", BOX, "-c", "nothing")
    with k.running("logs", *ON_BOX, "-f") as followed:
        followed.until("again")
        k("exec", *ON_BOX, "--", "sh", "-c", "echo more > /proc/1/fd/1")
        followed.until("more")


@TRANSPORTS
def test_commands_run_in_a_container(k: Program, transport: dict[str, str]) -> None:
    done = k.run("exec", *ON_BOX, "--", "sh", "-c", "echo out; echo err >&2; exit 7", **transport)
    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert done.stderr == "err\ncommand terminated with exit code 7\n"
    many = "".join(f"line {n}\n" for n in range(20_000))
    assert k("exec", "-i", *ON_BOX, "--", "cat", stdin=many, **transport) == many
    terminal = k("exec", "-t", *ON_BOX, "--", "sh", "-c", "tty; echo ok", **transport)
    assert terminal.splitlines()[-1] == "ok"
    said = k.run("exec", *ON_BOX, "--", "nothing-like-this", **transport)
    assert said.returncode != 0
    assert "nothing-like-this" in said.stderr


@TRANSPORTS
def test_files_are_copied_both_ways(k: Program, tmp_path: Path, transport: dict[str, str]) -> None:
    source = tmp_path / "file"
    source.write_bytes(bytes(range(256)) * 4000)
    k("cp", str(source), f"{BOX}:/tmp/copied", "-c", "c", **transport)
    k("cp", f"{BOX}:/tmp/copied", str(tmp_path / "back"), "-c", "c", **transport)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


@TRANSPORTS
def test_a_port_is_forwarded(k: Program, transport: dict[str, str]) -> None:
    with k.running("port-forward", f"pod/{BOX}", ":8080", **transport) as forwarding:
        port = forwarding.until("Forwarding from 127.0.0.1:").split(":")[1].split(" ")[0]
        for _ in range(3):
            assert fetch(k, f"http://127.0.0.1:{port}/") == f"hello from {BOX}\n"


def fetch(k: Program, url: str) -> str:
    """Return what a URL answers, asked from the node."""
    line = k.cluster.inside(["timeout", "20", "/bin/busybox", "wget", "-q", "-O-", url])
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


@TRANSPORTS
def test_one_attaches_to_a_process(k: Program, transport: dict[str, str]) -> None:
    name = f"echo-{'spdy' if transport else 'default'}"
    reader = pod(name, "")
    reader["spec"]["containers"][0] |= {"command": ["cat"], "stdin": True}
    k("create", "-f", "-", stdin=k.text(reader))
    k("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    with k.running("attach", name, "-i", **transport) as attached:
        attached.stdin.write("over there\n")
        attached.stdin.flush()
        attached.until("over there")
    k("delete", "pod", name, "--force", "--grace-period=0")


def test_a_container_is_added_to_look_into_another(k: Program) -> None:
    image = ("--image=kpy.local/busybox:1", "--profile=general")
    with k.running("debug", BOX, *image, "--target=c", "-i", "-q", "--", "sh") as debugger:
        debugger.stdin.write("ps\n")
        debugger.stdin.flush()
        debugger.until("httpd -f -p 8080")
        debugger.stdin.write("exit\n")
        debugger.stdin.flush()
    k("debug", BOX, *image, "--copy-to=box-copy", "--container=c", "--", "sleep", "3600")
    k("wait", "--for=condition=Ready", "pod/box-copy", "--timeout=120s")
    command = "jsonpath={.spec.containers[0].command}"
    assert k("get", "pod", "box-copy", "-o", command) == '["sleep","3600"]'
    k("delete", "pod", "box-copy", "--force", "--grace-period=0")
