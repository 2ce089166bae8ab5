"""kubectl's long connections against a real cluster: both protocols, terminals, ends and errors."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import BIN, Cluster
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
SCRIPT = (
    "echo begun; mkdir -p /www; echo hello > /www/index.html; "
    "trap 'exit 0' TERM; httpd -p 8080 -h /www; while :; do sleep 0.2; done"
)
PROTOCOLS = ("true", "false")
"""Whether kubectl uses WebSockets; else it uses SPDY."""


def pod(name: str, script: str, **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container | more]},
    }


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[str]:
    """Have a pod `web` and return its namespace."""
    cluster.kubectl("create", "namespace", "streams")
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", "streams"
    )
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    cluster.apply(pod("web", SCRIPT, readinessProbe=probe), namespace="streams")
    wait(cluster, "web")
    yield "streams"
    cluster.kubectl("delete", "namespace", "streams", "--wait=false")


def wait(cluster: Cluster, name: str) -> None:
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"pod/{name}", "-n", "streams", "--timeout=120s"
    )


def kubectl(
    cluster: Cluster, *arguments: str, data: bytes = b"", websockets: str = "true"
) -> subprocess.CompletedProcess[bytes]:
    """Run kubectl with bytes in and out, by the protocol that is asked for."""
    switches = [
        f"KUBECTL_REMOTE_COMMAND_WEBSOCKETS={websockets}",
        f"KUBECTL_PORT_FORWARD_WEBSOCKETS={websockets}",
    ]
    line = ["env", *switches, str(BIN / "kubectl"), "--kubeconfig", str(cluster.kubeconfig)]
    return subprocess.run(
        cluster.inside([*line, "-n", "streams", *arguments]),
        check=False,
        capture_output=True,
        input=data,
        timeout=180,
    )


@pytest.mark.parametrize("websockets", PROTOCOLS)
def test_bytes_go_through_a_command_and_its_end_is_heard(
    cluster: Cluster, web: str, websockets: str
) -> None:
    data = bytes(range(256)) * 40_000  # 10 MB
    done = kubectl(cluster, "exec", "-i", "web", "--", "cat", data=data, websockets=websockets)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("websockets", PROTOCOLS)
def test_output_errors_and_exit_code_arrive_apart(
    cluster: Cluster, web: str, websockets: str
) -> None:
    command = ("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
    done = kubectl(cluster, *command, websockets=websockets)
    assert (done.stdout, done.returncode) == (b"out\n", 42)
    assert done.stderr.startswith(b"err\n")


@pytest.mark.parametrize("websockets", PROTOCOLS)
def test_a_command_that_is_not_there_is_named(cluster: Cluster, web: str, websockets: str) -> None:
    done = kubectl(cluster, "exec", "web", "--", "nonesuch", websockets=websockets)
    assert done.returncode != 0
    assert b"nonesuch" in done.stderr


def test_a_terminal_has_a_size_and_an_exit_code(cluster: Cluster, web: str) -> None:
    command = "stty size; tty; exit 3"
    inner = f"kubectl exec -it web -n {web} -- sh -c '{command}'"
    inner = inner.replace("kubectl", f"{BIN}/kubectl --kubeconfig {cluster.kubeconfig}")
    line = ["script", "-qefc", f"stty rows 33 cols 99; {inner}", "/dev/null"]  # fmt: skip
    done = subprocess.run(
        cluster.inside(line),
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=180,
    )
    assert done.returncode == 3
    assert b"/dev/pts/" in done.stdout


def test_exec_errors_are_upstreams(cluster: Cluster, web: str) -> None:
    done = kubectl(cluster, "exec", "web", "-c", "none", "--", "true")
    assert b"container none is not valid for pod web" in done.stderr
    done = kubectl(cluster, "exec", "gone", "--", "true")
    assert b'pods "gone" not found' in done.stderr


@pytest.mark.parametrize("websockets", PROTOCOLS)
def test_a_running_process_is_attached_to(cluster: Cluster, web: str, websockets: str) -> None:
    name = f"reader-{websockets}"
    cluster.apply(
        pod(name, "while read l; do echo got $l; done; echo end", stdin=True, stdinOnce=True),
        namespace=web,
    )
    wait(cluster, name)
    done = kubectl(cluster, "attach", "-i", name, data=b"one\ntwo\n", websockets=websockets)
    assert done.returncode == 0, done.stderr
    assert b"got one\ngot two\n" in done.stdout


def test_logs_are_cut_as_asked(cluster: Cluster, web: str) -> None:
    cluster.apply(pod("writer", "echo a; echo b; echo c; sleep 1000"), namespace=web)
    wait(cluster, "writer")
    cluster.says("c\n", "logs", "writer", "-n", web)
    assert kubectl(cluster, "logs", "writer", "--tail=2").stdout == b"b\nc\n"
    assert kubectl(cluster, "logs", "writer", "--limit-bytes=3").stdout == b"a\nb"
    stamped = kubectl(cluster, "logs", "writer", "--timestamps").stdout.splitlines()
    assert [line.split(b" ")[1] for line in stamped] == [b"a", b"b", b"c"]
    assert kubectl(cluster, "logs", "writer", "--since=1h").stdout == b"a\nb\nc\n"


def test_logs_that_are_not_there_are_refused_in_upstreams_words(cluster: Cluster, web: str) -> None:
    done = kubectl(cluster, "logs", "web", "--previous")
    assert done.stderr.decode() == (
        'Error from server (BadRequest): previous terminated container "c" in pod "web" not found\n'
    )
    cluster.apply(pod("pending", "true", image="kpy.local/none:1"), namespace=web)
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.containerStatuses[0].state.waiting}", "pod/pending",
        "-n", web, "--timeout=120s",
    )  # fmt: skip
    done = kubectl(cluster, "logs", "pending")
    assert done.returncode == 1
    assert b'container "c" in pod "pending" is waiting to start: ' in done.stderr


def test_a_followed_log_ends_soon_after_its_container(cluster: Cluster, web: str) -> None:
    cluster.apply(
        pod("short", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done") | {},
        namespace=web,
    )
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.containerStatuses[0].containerID}", "pod/short",
        "-n", web, "--timeout=120s",
    )  # fmt: skip
    started = time.monotonic()
    done = kubectl(cluster, "logs", "-f", "short")
    assert done.stdout.split()[:3] == [b"1", b"2", b"3"]
    assert time.monotonic() - started < 90


def test_a_follower_that_goes_leaves_nothing_behind(cluster: Cluster, web: str) -> None:
    uid = cluster.get("pod", "web", "-n", web)["metadata"]["uid"]
    inode = int(cluster.machine.sh("stat", "-c", "%i", f"/var/log/pods/{web}_web_{uid}/c"))
    line = [str(BIN / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "-n", web]
    process = subprocess.Popen(
        cluster.inside([*line, "logs", "-f", "web"]),
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: is_watched(cluster, inode), 2, "the log is followed")
    # It is the child of the program that brought it into the machine.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    process.wait(60)
    wait_until(lambda: not is_watched(cluster, inode), 5, "nothing is followed")


def is_watched(cluster: Cluster, inode: int) -> bool:
    """Return whether kpy waits for changes in a folder."""
    folder = Path(f"/proc/{cluster.server.pid}/fdinfo")
    texts = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a file that kpy has just closed
            texts.append(path.read_text(errors="replace"))
    return any(f" ino:{inode:x} " in text for text in texts)


@pytest.mark.parametrize("websockets", PROTOCOLS)
def test_a_forwarded_port_takes_many_connections_and_closes(
    cluster: Cluster, web: str, websockets: str
) -> None:
    kubectl_line = [str(BIN / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "-n", web]
    switch = f"KUBECTL_PORT_FORWARD_WEBSOCKETS={websockets}"
    process = subprocess.Popen(
        cluster.inside(["env", switch, *kubectl_line, "port-forward", "web", ":8080"]),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().split(b":")[1].split(b" ")[0].decode()
        fetch = (
            "for i in 1 2 3 4 5 6 7 8 9 10; do busybox wget -q -O- http://127.0.0.1:%s & done; wait"
        )
        shown = cluster.machine.sh("sh", "-c", fetch % port)
        assert shown == "hello\n" * 10
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def test_a_port_where_nobody_listens_is_told(cluster: Cluster, web: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = (
        "kubectl port-forward web :9 > SAID 2>&1 & p=$!; "
        "for i in $(seq 500); do grep -q Forwarding SAID && break; sleep 0.1; done; "
        "port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\).*/\\1/p' SAID); "
        "timeout 30 busybox wget -q -O- http://127.0.0.1:$port; "
        "for i in $(seq 300); do grep -q refused SAID && break; sleep 0.1; done; "
        "kill $p; cat SAID"
    ).replace("kubectl", f"{BIN}/kubectl --kubeconfig {cluster.kubeconfig} -n {web}", 1)
    script = script.replace("SAID", str(said))
    assert "refused" in cluster.machine.sh("sh", "-c", script)


def test_nodes_pods_and_services_are_reached_through_the_api_server(
    cluster: Cluster, web: str
) -> None:
    node = cluster.machine.name
    assert cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz") == "ok"
    pods = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/pods"))
    assert "web" in {item["metadata"]["name"] for item in pods["items"]}
    path = f"/api/v1/namespaces/{web}/pods/web:8080/proxy/index.html"
    assert cluster.kubectl("get", "--raw", path) == "hello\n"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80,
                 "targetPort": 8080}]},
    }  # fmt: skip
    cluster.apply(service, namespace=web)
    for name in ("http:web:http", "web:http", "web:80", "web"):
        path = f"/api/v1/namespaces/{web}/services/{name}/proxy/index.html"
        wait_until(
            lambda path=path: cluster.run("get", "--raw", path).stdout == "hello\n", 10, path
        )


def test_a_big_file_is_copied_there_and_back(cluster: Cluster, web: str, tmp_path: Path) -> None:
    source, back = tmp_path / "big", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 100_000)
    cluster.kubectl("cp", str(source), f"{web}/web:/tmp/big")
    cluster.kubectl("cp", f"{web}/web:/tmp/big", str(back))
    assert back.read_bytes() == source.read_bytes()


def test_run_with_a_terminal_removes_its_pod(cluster: Cluster, web: str) -> None:
    done = kubectl(
        cluster, "run", "once", "-i", "--rm", "--restart=Never", "--image=kpy.local/busybox:1",
        "--", "sh", "-c", "read l; echo heard $l", data=b"this\n",
    )  # fmt: skip
    assert b"heard this" in done.stdout, done.stderr
    assert b'pod "once" deleted' in done.stdout
