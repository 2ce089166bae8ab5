"""Tasks that stand in no book: shims that no containerd will ever talk to, and what they hold.

A shim is the parent of a sandbox's processes; beside it lies a folder (its bundle), and one for
each container. A containerd that dies while a sandbox or container starts leaves them half made:
its successor forgets them without a kill, or removes the folder and not the process.

Two rules find them. While no containerd runs, a bundle that does not name the first process of its
task is half made. At any time, what is made for a task is made after containerd has written the
task down, and gone before it is struck out, so a shim or bundle that is seen first and not found in
the books then is nobody's.
"""

import contextlib
import itertools
import logging
import os
import re
import shutil
import signal
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.kubelet.volumes.mounts import points_below, unmount
from minikube_py.agent.orphans import sockets

log = logging.getLogger(__name__)
BUNDLES = "io.containerd.runtime.v2.task/k8s.io"
"""Below containerd's `state`, and its working folders below `root`."""
PROC = Path("/proc")
PROGRAM = b"containerd-shim"
FIRST = "init.pid"
"""In a bundle, when the task has been made: the process that the runtime began it with."""
RUNC = Path("/run/containerd/runc/k8s.io")
"""Where the shim has runc and crun keep what they know of a task."""
ID = re.compile(r"\.?[0-9a-f]{64}")
"""What CRI names a task; containerd puts a dot before it while it removes the bundle."""
GROUP = re.compile(rb"/([^/\n]+)$", re.MULTILINE)
"""The last part of a control group: a task's is named after it."""


class Process(NamedTuple):
    """One process of this machine."""

    pid: int
    parent: int
    command: tuple[bytes, ...] = ()
    groups: frozenset[str] = frozenset()
    """The last parts of the names of its control groups."""


def processes(proc: Path = PROC) -> Iterator[Process]:
    """Yield what runs; the kernel's own threads have no command."""
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                # `pid (name) state parent`; the name may hold anything, blanks and brackets too.
                parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
                command = tuple((folder / "cmdline").read_bytes().split(b"\0")[:-1])
                groups = GROUP.findall((folder / "cgroup").read_bytes())
                names = frozenset(map(os.fsdecode, groups))
                yield Process(int(folder.name), parent, command, names)


def shims(running: Iterable[Process], socket: Path) -> Iterator[tuple[int, str]]:
    """Yield pid and task of the shims that a containerd at this socket made: pure."""
    for process in running:
        program, *flags = process.command or (b"",)
        told = dict(itertools.pairwise(flags))
        if (
            program.rpartition(b"/")[2].startswith(PROGRAM)
            and told.get(b"-namespace") == b"k8s.io"
            and told.get(b"-address") == os.fsencode(socket)
        ):
            yield process.pid, os.fsdecode(told.get(b"-id", b""))


def bundles(folder: Path) -> Iterator[Path]:
    """Yield what lies beside the shims of CRI's tasks."""
    parent = folder / "state" / BUNDLES
    for path in parent.iterdir() if parent.is_dir() else ():
        if ID.fullmatch(path.name):
            yield path


def seen(folder: Path, socket: Path) -> set[str]:
    """Return CRI's tasks of which there is a shim or a bundle."""
    found = {task for _, task in shims(processes(), socket) if ID.fullmatch(task)}
    return found | {path.name for path in bundles(folder)}


def half_made(folder: Path) -> set[str]:
    """Return the tasks that have no first process; to be asked while no containerd runs."""
    return {path.name for path in bundles(folder) if not (path / FIRST).exists()}


def belongings(running: Collection[Process], socket: Path, task: str) -> set[int]:
    """Return its shim, those who make the task, what is in its group, and all below: pure."""
    ours = dict(shims(running, socket))
    word = os.fsencode(task)
    more = {pid for pid, name in ours.items() if name == task}
    more |= {p.pid for p in running if task in p.groups}
    more |= {p.pid for p in running if p.parent in ours and word in p.command}
    found: set[int] = set()
    while more:
        found |= more
        more = {p.pid for p in running if p.parent in more} - found
    return found


def remove(folder: Path, socket: Path, task: str) -> None:
    """Kill what runs of a task, then remove its files; what cannot go now is tried again later."""
    killed = _kill(socket, task)
    for path in (folder / "state" / BUNDLES / task, folder / "root" / BUNDLES / task, RUNC / task):
        for point in points_below(path):
            with contextlib.suppress(OSError):
                unmount(point)
        if path.exists() and not points_below(path):  # never delete what is another's
            shutil.rmtree(path, ignore_errors=True)
    sockets.forget(socket, task)
    log.warning("task that no container has removed id=%s processes=%d", task, killed)


def _kill(socket: Path, task: str) -> int:
    """Kill all of a task; return how many they were.

    They are halted first, until a look finds nobody new: who is halted starts nobody.
    """
    halted: set[int] = set()
    while new := belongings(list(processes()), socket, task) - halted:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        halted |= new
    for pid in halted:
        _signal(pid, signal.SIGKILL)
    return len(halted)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
