"""Sockets of shims: a shim that was killed leaves its own behind.

All containerds of a machine have them in one folder, and a name says nothing of whose it is unless
the task is known. With its sandbox a socket is forgotten by name. Where that was missed, because
somebody died in between, it is found by nobody listening: no shim begins to listen on one that is
there for long, whoever's it is.
"""

import contextlib
import hashlib
import os
import socket as sockets
from collections.abc import Iterable, Iterator
from pathlib import Path

SOCKETS = Path("/run/containerd/s")
"""Where shims listen, wherever their containerd keeps its own files."""
LONG_SECONDS = 30.0
"""A shim listens milliseconds after its socket is there."""


def path_of(containerd: Path, task: str) -> Path:
    """Return the socket of the shim of a task; its name is made of containerd's own socket."""
    return SOCKETS / hashlib.sha256(os.fsencode(containerd / "k8s.io" / task)).hexdigest()


def forget(containerd: Path, task: str) -> None:
    """Remove the socket of a task that is gone."""
    path_of(containerd, task).unlink(missing_ok=True)


def sweep(containerd: Path, tasks: Iterable[str], now: float) -> None:
    """Remove sockets on which nobody listens; those of these tasks are left alone.

    `now` is the time of day in seconds, as files have it.
    """
    ours = {path_of(containerd, task) for task in tasks}
    for path in _old(now):
        if path not in ours and _is_dead(path):
            path.unlink(missing_ok=True)


def _old(now: float) -> Iterator[Path]:
    for path in SOCKETS.iterdir() if SOCKETS.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if path.is_socket() and now - path.stat().st_ctime > LONG_SECONDS:
                yield path


def _is_dead(path: Path) -> bool:
    """Tell whether a connection is refused; one that waits for its turn is not."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
