"""The groups that hold the pods of a node to their limits, in both versions of the kernel's tree.

    /kubepods                      all pods
    /kubepods/pod<uid>             a guaranteed pod
    /kubepods/burstable/pod<uid>   a burstable one
    /kubepods/besteffort/pod<uid>  one that asked for nothing

The runtime makes the groups of containers below and removes them; those of pods are the kubelet's.
Version 1 has a tree for each controller, and a new group of its cpuset controller is unusable until
it has been told processors and memory nodes; version 2 has one tree, whose controllers must be
handed down level by level.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.agent.kubelet.qos import qos_class
from minikube_py.agent.kubelet.resources import PERIOD_MICROS, SHARES_MIN, Limits
from minikube_py.api.object import Obj, uid_of

log = logging.getLogger(__name__)
ROOT = "/kubepods"
WANTED = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")
"""Controllers that pods are held by, where the kernel has them."""


def pod_group(pod: Obj) -> str:
    """Return the group of a pod."""
    kind = qos_class(pod)
    parent = ROOT if kind == "Guaranteed" else f"{ROOT}/{kind.lower()}"
    return f"{parent}/pod{uid_of(pod)}"


def cpu_weight(shares: int) -> int:
    """Return the weight of version 2 for shares of version 1, as runc converts them."""
    return 1 + (shares - SHARES_MIN) * 9999 // 262142


@dataclass(frozen=True)
class Cgroups:
    """Where the kernel's trees are mounted."""

    controllers: Mapping[str, Path] = field(default_factory=dict)
    """Version 1: controller -> mount point; several may share one."""
    unified: Path | None = None
    """Version 2, also beside version 1."""

    @property
    def is_v2(self) -> bool:
        """Whether version 2 holds the controllers."""
        return not self.controllers

    def folders(self, group: str) -> Iterator[Path]:
        """Yield the folder of a group in every tree."""
        roots = set(self.controllers.values())
        if self.unified is not None:
            roots.add(self.unified)
        for root in sorted(roots):
            yield root / group.lstrip("/")

    def create(self, group: str, limits: Limits) -> None:
        """Make a group with its parents and set its limits; one that is there is changed."""
        for root in sorted(set(self.controllers.values())):
            _make_v1(root, group, cpuset=self.controllers.get("cpuset") == root)
        if self.is_v2 and self.unified is not None:
            _make_v2(self.unified, group)
        self.limit(group, limits)

    def limit(self, group: str, limits: Limits) -> None:
        """Set the limits of a group."""
        for path, value in self._settings(group, limits):
            _write(path, value)

    def _settings(self, group: str, limits: Limits) -> Iterator[tuple[Path, str]]:
        name = group.lstrip("/")
        if self.is_v2:
            if self.unified is None:
                return
            folder = self.unified / name
            quota = "max" if limits.cpu_quota_micros is None else str(limits.cpu_quota_micros)
            yield folder / "cpu.weight", str(cpu_weight(limits.cpu_shares))
            yield folder / "cpu.max", f"{quota} {PERIOD_MICROS}"
            yield folder / "memory.max", _or(limits.memory_bytes, "max")
            yield folder / "pids.max", _or(limits.pids, "max")
            return
        if cpu := self.controllers.get("cpu"):
            yield cpu / name / "cpu.shares", str(limits.cpu_shares)
            yield cpu / name / "cpu.cfs_period_us", str(PERIOD_MICROS)
            yield cpu / name / "cpu.cfs_quota_us", _or(limits.cpu_quota_micros, "-1")
        if memory := self.controllers.get("memory"):
            yield memory / name / "memory.limit_in_bytes", _or(limits.memory_bytes, "-1")
        if pids := self.controllers.get("pids"):
            yield pids / name / "pids.max", _or(limits.pids, "max")

    def has(self, group: str) -> bool:
        """Tell whether a group is there in every tree."""
        return all(folder.is_dir() for folder in self.folders(group))

    def processes(self, group: str) -> set[int]:
        """Return all that runs in a group or below it."""
        found: set[int] = set()
        for folder in self.folders(group):
            for path, _, _ in os.walk(folder):
                with contextlib.suppress(OSError):
                    found |= {int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()}
        return found

    def remove(self, group: str) -> bool:
        """Remove a group with all below it; tell whether it is gone from every tree."""
        gone = [_remove(folder) for folder in self.folders(group)]
        return all(gone)

    def pods(self) -> dict[str, str]:
        """Return the groups of pods that exist, uid -> group."""
        found: dict[str, str] = {}
        for parent in (ROOT, f"{ROOT}/burstable", f"{ROOT}/besteffort"):
            for folder in self.folders(parent):
                with contextlib.suppress(FileNotFoundError):
                    for entry in os.scandir(folder):
                        if entry.name.startswith("pod") and entry.is_dir():
                            found[entry.name[3:]] = f"{parent}/{entry.name}"
        return found


def _or(value: int | None, unlimited: str) -> str:
    return unlimited if value is None else str(value)


def _make_v1(root: Path, group: str, *, cpuset: bool) -> None:
    folder = root
    for part in group.strip("/").split("/"):
        parent, folder = folder, folder / part
        folder.mkdir(exist_ok=True)
        if not cpuset:
            continue
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (folder / name).read_text().strip():
                _write(folder / name, (parent / name).read_text().strip())


def _make_v2(root: Path, group: str) -> None:
    folder = root
    for part in group.strip("/").split("/"):
        offered = (folder / "cgroup.controllers").read_text().split()
        for controller in WANTED:
            if controller in offered:
                _write(folder / "cgroup.subtree_control", f"+{controller}")
        folder = folder / part
        folder.mkdir(exist_ok=True)


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        # A controller that is not there cannot hold anybody; a limit below what is used now is
        # refused by version 1 and comes to hold at the next start.
        log.warning("limit not set file=%s value=%s error=%s", path, value, error.strerror)


def _remove(folder: Path) -> bool:
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


def detect() -> Cgroups:
    """Find the trees that this process sees."""
    controllers: dict[str, Path] = {}
    unified: Path | None = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = Path(fields[4])
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind == "cgroup2":
            unified = point
        elif kind == "cgroup":
            for option in options.split(","):
                if option not in ("rw", "ro", "xattr", "clone_children"):
                    controllers.setdefault(option, point)
    return Cgroups(controllers, unified)
