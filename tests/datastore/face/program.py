"""`kpy etcd` as a process of its own, and etcdctl to speak to it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.ports import free_port

KPY = Path(sys.executable).parent / "kpy"
SECONDS_MAX = 60.0


class Face:
    """`kpy etcd` over SQLite on loopback."""

    def __init__(self, folder: Path, *flags: str, scheme: str = "http") -> None:
        self.folder = folder
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it says that it serves."""
        log = self.folder / "log"
        line = [KPY, "etcd", f"--data-dir={self.folder / 'data'}", *self.flags]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*line, f"--listen-client-urls={self.url}"], stdout=output, stderr=output
            )
        until = time.monotonic() + SECONDS_MAX
        while "API is served" not in log.read_text():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """End it, as a power cut does or in order."""
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(SECONDS_MAX)
            self.process = None

    def endpoint(self) -> str:
        """Return what `--datastore-endpoint` takes; nothing is in it."""
        self.ctl("del", "", "--prefix")
        return self.url

    def ctl(
        self, *words: str, text: str = "", status: int | None = 0, tls: Sequence[str] = ()
    ) -> str:
        """Return what etcdctl prints about this server."""
        return etcdctl(self.url, *tls, *words, text=text, status=status)


def etcdctl(url: str, *words: str, text: str = "", status: int | None = 0) -> str:
    """Return what etcdctl prints; where it is to fail (None: in any way), what it complains of."""
    done = subprocess.run(
        ["etcdctl", f"--endpoints={url}", "--command-timeout=20s", *words],
        input=text,
        env={**os.environ, "ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert (status is None and done.returncode) or done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr
