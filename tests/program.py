"""`kpy server` as a process of its own, without a node, for tests that act on it from outside."""

import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.ports import free_port

KPY = Path(sys.executable).parent / "kpy"
START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 10.0


class Server:
    """`kpy server` without a node, on loopback."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self.port = free_port()
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def line(self, *flags: str) -> list[str]:
        return [
            str(KPY),
            "server",
            "--disable-agent",
            f"--data-dir={self.folder / 'data'}",
            f"--write-kubeconfig={self.folder / 'kubeconfig'}",
            "--bind-address=127.0.0.1",
            f"--https-listen-port={self.port}",
            *self.flags,
            *flags,
        ]

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self.line(), stdout=output, stderr=output)
        try:
            self._wait_ready(self.process)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_ready():
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def is_ready(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{self.port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kpy(self, *arguments: str, status: int = 0) -> str:
        """Return what another command of the program prints about this server."""
        line = [str(KPY), *arguments, f"--data-dir={self.folder / 'data'}"]
        done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=180)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        done = self._kubectl(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Return what kubectl says of something that must not be."""
        done = self._kubectl(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _kubectl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        line = [str(KPY.parent / "kubectl"), "--kubeconfig", str(self.folder / "kubeconfig")]
        return subprocess.run(
            [*line, *arguments], check=False, capture_output=True, text=True, timeout=180
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(timeout=6 * STOP_SECONDS_MAX)
        return status, time.monotonic() - started
