"""A real node for a module of tests: namespaces, containerd, API server and agent."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.e2e.node.machine import Machine, ProgramError, wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROGRAM = Path(sys.executable).with_name("kpy")
KUBECTL = Path(sys.executable).with_name("kubectl")


class Node:
    """One machine with kpy on it; `kubectl` drives it."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self.program: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "kpy.log"

    def line(self, *more: str) -> list[str]:
        """Return the command line of kpy."""
        return [
            str(PROGRAM), "server",
            "--data-dir", str(self.folder),
            "--write-kubeconfig", str(self.folder / "admin.yaml"),
            "--node-name", "n1",
            "--node-ip", self.machine.address,
            *more,
        ]  # fmt: skip

    def start(self, *more: str, ready: bytes = b"node n1 is ready") -> None:
        """Start kpy and wait until it says that it is ready."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self.program = self.machine.start(self.line(*more), self.log)
        wait_until(lambda: ready in self._said(before), 180, ready.decode())

    def _said(self, before: int) -> bytes:
        assert self.program is not None
        assert self.program.poll() is None, self.log.read_text()[-3000:]
        return self.log.read_bytes()[before:]

    def pid(self) -> str:
        """Return the process of kpy, as the machine numbers it."""
        return self.machine.sh("pgrep", "-f", "kpy server").split()[0]

    def kill(self) -> None:
        """Kill kpy with -9; pods and containerd live on."""
        assert self.program is not None
        self.machine.sh("kill", "-9", self.pid())
        self.program.wait()

    def stop(self) -> float:
        """Stop kpy as Ctrl-C does; return how long that took."""
        assert self.program is not None
        begun = time.monotonic()
        self.machine.sh("kill", "-INT", self.pid())
        self.program.wait(60)
        return time.monotonic() - begun

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 180) -> str:
        """Run kubectl inside; it must succeed."""
        config = str(self.folder / "admin.yaml")
        command = [str(KUBECTL), "--kubeconfig", config, *arguments]
        done = subprocess.run(
            self.machine.inside(command),
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise ProgramError(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl(
            "apply", "--validate=false", "-f", "-", stdin=yaml.safe_dump_all(list(objects))
        )

    def get(self, kind: str, name: str) -> Any:
        return orjson.loads(self.kubectl("get", kind, name, "-o", "json"))

    def pods(self) -> list[Any]:
        return list(orjson.loads(self.kubectl("get", "pods", "-o", "json"))["items"])

    def pod(self, name: str) -> Any:
        return self.get("pod", name)

    def wait(self, name: str, phase: str, seconds: float = 20) -> Any:
        """Wait for a phase; return the pod."""

        def reached() -> Any:
            pod = self.pod(name)
            return pod if pod["status"].get("phase") == phase else None

        return wait_until(reached, seconds, f"pod {name} is {phase}: {self._why(name)}")

    def _why(self, name: str) -> str:
        return f"see {self.log} for {name}"

    def wait_state(self, name: str, reason: str, seconds: float = 20) -> Any:
        """Wait until the first container waits or has ended for a reason; return its status."""

        def reached() -> Any:
            pod = self.pod(name)
            for status in pod["status"].get("containerStatuses", ()):
                for state in status["state"].values():
                    if state.get("reason") == reason:
                        return status
            return None

        return wait_until(reached, seconds, f"a container of {name} is {reason}")

    def logs(self, name: str, *more: str) -> str:
        return self.kubectl("logs", name, *more)

    def delete(self, name: str, grace: int = 0) -> None:
        flags = ["--grace-period", str(grace)] + (["--force"] if grace == 0 else [])
        self.kubectl("delete", "pod", name, *flags)

    def events(self, name: str) -> list[str]:
        """Return `reason: message` of all events about an object."""
        selector = f"involvedObject.name={name}"
        found = self.kubectl("get", "events", "--field-selector", selector, "-o", "json")
        return [f"{e['reason']}: {e['message']}" for e in orjson.loads(found)["items"]]

    def told(self, name: str, event: str) -> None:
        """Wait for an event about an object that begins with `reason: message`."""
        seen: list[str] = []

        def true() -> bool:
            seen[:] = self.events(name)
            return any(one.startswith(event) for one in seen)

        wait_until(true, 30, lambda: f"the event {event!r}, but only {seen}")

    def ctr(self, *arguments: str) -> str:
        socket = str(self.folder / "agent" / "containerd" / "containerd.sock")
        return self.machine.sh("ctr", "-a", socket, "-n", "k8s.io", *arguments)

    def exec(self, name: str, *command: str) -> str:
        return self.kubectl("exec", name, "--", *command)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the images that tests run."""
    folder = tmp_path_factory.mktemp("images")
    script = ROOT / "packaging" / "images" / "build_images.py"
    subprocess.run([sys.executable, str(script), "--out", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def node(images: Path) -> Iterator[Node]:
    """Have a node that is ready; its folder has a short name, because sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="kpy-", dir="/tmp"))
    archives = folder / "agent" / "images"
    archives.mkdir(parents=True)
    for archive in images.glob("*.tar"):
        shutil.copy(archive, archives)
    machine = Machine("node", folder)
    try:
        made = Node(machine, folder)
        made.start()
        yield made
    finally:
        machine.close()


def make(name: str, command: str = "sleep 3600", **more: Any) -> dict[str, Any]:
    """Return a pod with one container that runs a shell command."""
    container = {
        "name": "c",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", command],
    } | more.pop("container", {})
    spec = {
        "nodeName": "n1",
        "terminationGracePeriodSeconds": 1,
        "containers": [container, *more.pop("others", ())],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name} | more.pop("metadata", {}),
        "spec": spec | more,
    }
