"""`kpy cloud-controller-manager` as a process beside a server that leaves it the work."""

import json
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.program import KPY, STOP_SECONDS_MAX, Server

SECONDS_MAX = 120.0
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1"},
    "spec": {
        "taints": [
            {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}
        ]
    },
}


class Manager:
    """The program, and the port that it answers on."""

    def __init__(self, server: Server, *flags: str) -> None:
        self.port = free_port()
        line = [
            str(KPY),
            "cloud-controller-manager",
            f"--kubeconfig={server.folder / 'kubeconfig'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            *flags,
        ]
        self.log = server.folder / f"manager-{self.port}"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(line, stdout=output, stderr=output)

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"https://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=6 * STOP_SECONDS_MAX)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--cloud-provider=external")
    made.start()
    yield made
    made.stop()


def eventually(true: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def holder(server: Server) -> str:
    lease = ("get", "lease", "cloud-controller-manager", "-n", "kube-system")
    return server.kubectl(*lease, "-o", "jsonpath={.spec.holderIdentity}")


def test_it_initialises_nodes_tells_how_it_is_and_hands_over_when_it_stops(server: Server) -> None:
    first = Manager(server, "--cloud-provider=local")
    second = None
    try:
        path = server.folder / "node.json"
        path.write_text(json.dumps(NODE))
        server.kubectl("create", "-f", str(path))
        wait = "--for=jsonpath={.spec.providerID}=kpy://n1"
        server.kubectl("wait", wait, "node/n1", f"--timeout={SECONDS_MAX}s")
        assert first.get("/healthz") == (200, "ok")
        assert first.get("/metrics")[0] == 401
        assert first.get("/metrics", "nonsense")[0] == 401
        token = server.kubectl("create", "token", "default").strip()
        assert first.get("/metrics", token)[0] == 403
        to = ("--clusterrole=system:monitoring", "--serviceaccount=default:default")
        server.kubectl("create", "clusterrolebinding", "scraper", *to)
        status, text = first.get("/metrics", token)
        assert status == 200
        assert 'leader_election_master_status{name="cloud-controller-manager"} 1' in text
        assert 'workqueue_depth{name="cloud-node-controller"} 0' in text
        assert first.get("/nowhere", token)[0] in (403, 404)
        held = holder(server)
        second = Manager(server, "--cloud-provider=local")
        eventually(lambda: second.get("/healthz")[0] == 200, second.log.read_text)
        assert first.stop() == 0, first.log.read_text()
        eventually(lambda: holder(server) not in ("", held), second.log.read_text)
        assert second.stop() == 0, second.log.read_text()
        assert holder(server) == ""
    finally:
        for one in (first, second):
            if one is not None and one.process.poll() is None:
                one.process.kill()
                one.process.wait()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ((), "no cloud to control; pass --cloud-provider with one of aws, local"),
        (("--cloud-provider=external",), "no cloud to control"),
        (("--cloud-provider=moon",), "cloud provider 'moon' is not known; pass one of"),
        (("--cloud-provider=local", "--cloud-config=/nowhere"), "--cloud-config /nowhere"),
        (("--cloud-provider=local", "--kubeconfig=/nowhere"), "cannot read kubeconfig /nowhere"),
        (("--cloud-provider=local", "--kubeconfig="), "no cluster to reach; pass --kubeconfig"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    tmp_path: Path, flags: tuple[str, ...], why: str
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    document = {
        "clusters": [cluster],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig.write_text(json.dumps(document))
    line = [str(KPY), "cloud-controller-manager", f"--kubeconfig={kubeconfig}", *flags]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    (told,) = done.stderr.strip().splitlines()
    assert why in told
