"""A real cluster for tests: `kpy server` in namespaces of its own, driven by the real kubectl."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.fabric import Fabric
from tests.e2e.node.machine import Machine, ProgramError, says, wait_until

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
IMAGES = ROOT / "build" / "images"
READY_SECONDS = 180.0
STOP_SECONDS_MAX = 10.0
"""What a stop may take at most, by promise."""
LOG_BYTES_SHOWN = 20_000
KUBECTL_SECONDS = 180.0
"""For one call; longer than any `--timeout` that is given to it."""


def build_images() -> Path:
    """Return the folder of the image archives; build them where `make` has not."""
    if not list(IMAGES.glob("*.tar")):
        script = ROOT / "packaging" / "images" / "build_images.py"
        subprocess.run([sys.executable, str(script), "--out", str(IMAGES)], check=True)
    return IMAGES


class Program:
    """`kpy server` or `kpy agent` in a machine; it may be stopped and started again."""

    def __init__(self, machine: Machine, command: str, data_dir: Path, *flags: str) -> None:
        self.machine = machine
        self.data_dir = data_dir
        self.log = data_dir.parent / f"{machine.name}.log"
        self._line = [str(BIN / "kpy"), command, "--data-dir", str(data_dir), *flags]
        self._process: subprocess.Popen[bytes] | None = None
        images = data_dir / "agent" / "images"
        images.mkdir(parents=True)
        shutil.copy(build_images() / "busybox.tar", images)  # the pause image comes with kpy

    def start(self) -> None:
        """Start it; returns at once."""
        self._process = self.machine.start(self._line, self.log)

    @property
    def pid(self) -> int:
        """The pid of kpy itself, as this machine sees it; it is the child of nsenter."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(wait_until(children.read_text, 5, "kpy has started").split()[0])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal and wait; return how many seconds it took to end."""
        assert self._process is not None
        started = time.monotonic()
        os.kill(self.pid, number)
        self._process.wait(timeout=6 * STOP_SECONDS_MAX)
        return time.monotonic() - started

    @property
    def status(self) -> int:
        """The exit status of the last run."""
        assert self._process is not None
        return self._process.wait(timeout=6 * STOP_SECONDS_MAX)

    @property
    def has_ended(self) -> bool:
        """Whether the last run is over."""
        return self._process is None or self._process.poll() is not None

    def log_tail(self) -> str:
        """Return the end of what it printed."""
        data = self.log.read_bytes() if self.log.exists() else b""
        return data[-LOG_BYTES_SHOWN:].decode(errors="replace")


class Cluster:
    """A server with its node, and workers as tests add them."""

    def __init__(
        self,
        folder: Path,
        name: str = "n1",
        address: str = "192.168.77.1",
        flags: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.fabric: Fabric | None = None
        """What connects the machines; there with the first worker."""
        self.kubeconfig = folder / "kubeconfig"
        self.registries = folder / "etc" / "registries.yaml"
        """Not there until a test writes it; its folder is followed."""
        self.registries.parent.mkdir()
        self.machine = Machine(name, folder / name, address)
        self.server = Program(
            self.machine,
            "server",
            folder / name,
            "--write-kubeconfig",
            str(self.kubeconfig),
            *(("--node-ip", address) if address else ()),
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--private-registry",
            str(self.registries),
            *flags,
        )
        self.workers: list[Program] = []

    def start(self, *, with_node: bool = True) -> None:
        """Start the server and wait until it answers, and its node is ready where it has one."""
        self.server.start()
        if with_node:
            self.wait_ready(self.machine.name)
        else:
            wait_until(lambda: not self.run("get", "nodes").returncode, READY_SECONDS, "it answers")

    def wait_ready(self, node: str) -> None:
        """Wait until a node is ready."""
        wait_until(lambda: self._is_ready(node), READY_SECONDS, f"node {node} is ready")

    def _is_ready(self, node: str) -> bool:
        assert not self.server.has_ended, "kpy server ended"
        shown = self.run("get", "node", node, "-o", "json")
        conditions = (
            json.loads(shown.stdout)["status"].get("conditions", ()) if shown.stdout else ()
        )
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def run(
        self, *arguments: str, stdin: str = "", timeout: float = KUBECTL_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the machine; return what it did, also where it failed."""
        line = [str(BIN / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(
            self.inside(line),
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout,
        )

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = KUBECTL_SECONDS) -> str:
        """Run kubectl and return what it prints; it must succeed."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        if done.returncode != 0:
            raise ProgramError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def says(self, wanted: str, *arguments: str) -> str:
        """Run kubectl until it prints some words; return all that it prints then."""
        return says(lambda: self.kubectl(*arguments), wanted)

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get -o json` says, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *documents: Any, namespace: str = "default") -> None:
        """Apply objects."""
        text = "\n---\n".join(json.dumps(document) for document in documents)
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)

    def add_worker(self, name: str, address: str, *flags: str) -> Program:
        """Start one more machine on the fabric and let it join; returns once it is ready."""
        worker = self.start_worker(name, address, *flags)
        self.wait_ready(name)
        return worker

    def start_worker(self, name: str, address: str, *flags: str) -> Program:
        """Start one more machine on the fabric and let it join; returns at once."""
        if self.fabric is None:
            self.fabric = Fabric()
            self.fabric.connect(self.machine)
        machine = Machine(name, self.folder / name, address)
        self.fabric.connect(machine)
        token = (self.folder / self.machine.name / "server" / "token").read_text().strip()
        server = f"https://{self.machine.address}:6443"
        given = ("--server", server, "--token", token, "--node-ip", address, *flags)
        worker = Program(machine, "agent", self.folder / name, *given)
        self.workers.append(worker)
        worker.start()
        return worker

    def remove_worker(self, worker: Program) -> None:
        """End a machine and forget its node."""
        worker.machine.close()
        self.workers.remove(worker)
        self.kubectl("delete", "node", worker.machine.name, "--ignore-not-found")

    def restart_worker(self, worker: Program) -> None:
        """Switch a machine on that has crashed; returns once its node is ready."""
        assert self.fabric is not None
        worker.machine.boot()
        self.fabric.connect(worker.machine)
        worker.start()
        self.wait_ready(worker.machine.name)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All machines, the server's first."""
        return (self.machine, *(worker.machine for worker in self.workers))

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a program in the server's machine."""
        return self.machine.inside(command)

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(p.log_tail() for p in (self.server, *self.workers))

    def close(self) -> None:
        """End everything."""
        for program in self.workers:
            program.machine.close()
        self.machine.close()
        if self.fabric is not None:
            self.fabric.close()
