"""What the processes of one group use, read from the files of the kernel's trees.

Both versions of the trees say the same under other names; the rules by which the working set and
what is still available follow from them are cAdvisor's. A file that is not there leaves its value
out: a group may vanish while it is read, and a controller may not be mounted at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.stats.pressure import Pressure

UNLIMITED_BYTES = 1 << 62
"""A limit beyond this is version 1's way to say that there is none."""


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Processor time since the group began."""

    nanoseconds: int
    user_nanoseconds: int = 0
    system_nanoseconds: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_nanoseconds: int = 0
    quota_micros: int | None = None
    period_micros: int = 100_000
    shares: int = 0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory in bytes."""

    usage: int
    working_set: int
    rss: int = 0
    cache: int = 0
    mapped_file: int = 0
    limit: int | None = None
    page_faults: int = 0
    major_page_faults: int = 0
    swap: int | None = None
    swap_limit: int | None = None

    @property
    def available(self) -> int | None:
        """What may still be used under the group's own limit, None where it has none."""
        return None if self.limit is None else max(self.limit - self.working_set, 0)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one group uses."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    processes: int = 0
    oom_kills: int = 0
    pressure: Mapping[str, Pressure] = field(default_factory=dict)
    """What is lost for want of cpu, memory, io; left out where only the use itself is read."""


def read(trees: Cgroups, group: str) -> Usage:
    """Return what a group uses; blocks for some files of the kernel."""
    reader = _V2(trees, group) if trees.is_v2 else _V1(trees, group)
    return Usage(
        cpu=reader.cpu(),
        memory=reader.memory(),
        processes=reader.processes(),
        oom_kills=reader.oom_kills(),
    )


class _V1:
    """A tree for each controller."""

    def __init__(self, trees: Cgroups, group: str) -> None:
        self._trees = trees
        self._group = group.lstrip("/")

    def _file(self, controller: str, name: str) -> str:
        root = self._trees.controllers.get(controller)
        return "" if root is None else text(root / self._group / name)

    def cpu(self) -> Cpu | None:
        total = number(self._file("cpuacct", "cpuacct.usage"))
        if total is None:
            return None
        ticks = flat(self._file("cpuacct", "cpuacct.stat"))
        throttled = flat(self._file("cpu", "cpu.stat"))
        quota = number(self._file("cpu", "cpu.cfs_quota_us"))
        return Cpu(
            nanoseconds=total,
            user_nanoseconds=ticks.get("user", 0) * TICK_NANOSECONDS,
            system_nanoseconds=ticks.get("system", 0) * TICK_NANOSECONDS,
            periods=throttled.get("nr_periods", 0),
            throttled_periods=throttled.get("nr_throttled", 0),
            throttled_nanoseconds=throttled.get("throttled_time", 0),
            quota_micros=quota if quota is not None and quota > 0 else None,
            period_micros=number(self._file("cpu", "cpu.cfs_period_us")) or 100_000,
            shares=number(self._file("cpu", "cpu.shares")) or 0,
        )

    def memory(self) -> Memory | None:
        usage = number(self._file("memory", "memory.usage_in_bytes"))
        if usage is None:
            return None
        stat = flat(self._file("memory", "memory.stat"))
        limit = number(self._file("memory", "memory.limit_in_bytes"))
        both = number(self._file("memory", "memory.memsw.limit_in_bytes"))
        swap = stat.get("total_swap")
        return Memory(
            usage=usage,
            working_set=max(usage - stat.get("total_inactive_file", 0), 0),
            rss=stat.get("total_rss", 0),
            cache=stat.get("total_cache", 0),
            mapped_file=stat.get("total_mapped_file", 0),
            limit=_limit(limit),
            page_faults=stat.get("total_pgfault", 0),
            major_page_faults=stat.get("total_pgmajfault", 0),
            swap=swap,
            swap_limit=_difference(_limit(both), _limit(limit)),
        )

    def processes(self) -> int:
        return len(self._file("pids", "cgroup.procs").split())

    def oom_kills(self) -> int:
        return flat(self._file("memory", "memory.oom_control")).get("oom_kill", 0)


class _V2:
    """One tree."""

    def __init__(self, trees: Cgroups, group: str) -> None:
        self._folder = (trees.unified or Path("/sys/fs/cgroup")) / group.lstrip("/")

    def _file(self, name: str) -> str:
        return text(self._folder / name)

    def cpu(self) -> Cpu | None:
        stat = flat(self._file("cpu.stat"))
        if "usage_usec" not in stat:
            return None
        quota, _, period = self._file("cpu.max").partition(" ")
        return Cpu(
            nanoseconds=stat["usage_usec"] * 1000,
            user_nanoseconds=stat.get("user_usec", 0) * 1000,
            system_nanoseconds=stat.get("system_usec", 0) * 1000,
            periods=stat.get("nr_periods", 0),
            throttled_periods=stat.get("nr_throttled", 0),
            throttled_nanoseconds=stat.get("throttled_usec", 0) * 1000,
            quota_micros=number(quota),
            period_micros=number(period) or 100_000,
            shares=_shares(number(self._file("cpu.weight")) or 0),
        )

    def memory(self) -> Memory | None:
        stat = flat(self._file("memory.stat"))
        usage = number(self._file("memory.current"))
        if usage is None:  # the root has no such file
            usage = _used_by_all() if stat else None
        if usage is None:
            return None
        return Memory(
            usage=usage,
            working_set=max(usage - stat.get("inactive_file", 0), 0),
            rss=stat.get("anon", 0),
            cache=stat.get("file", 0),
            mapped_file=stat.get("file_mapped", 0),
            limit=number(self._file("memory.max")),
            page_faults=stat.get("pgfault", 0),
            major_page_faults=stat.get("pgmajfault", 0),
            swap=number(self._file("memory.swap.current")),
            swap_limit=number(self._file("memory.swap.max")),
        )

    def processes(self) -> int:
        return len(self._file("cgroup.procs").split())

    def oom_kills(self) -> int:
        return flat(self._file("memory.events")).get("oom_kill", 0)


TICK_NANOSECONDS = 10_000_000
"""cpuacct.stat counts in hundredths of a second, whatever the kernel's own clock does."""


def text(path: Path) -> str:
    """Return what a file holds, "" where it is not there or cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def number(content: str) -> int | None:
    """Return a number, None for `max` or nothing."""
    content = content.strip()
    return int(content) if content.lstrip("-").isdigit() else None


def flat(content: str) -> Mapping[str, int]:
    """Return lines of `key number` as a map."""
    found = {}
    for line in content.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def _limit(value: int | None) -> int | None:
    return None if value is None or value >= UNLIMITED_BYTES else value


def _difference(both: int | None, memory: int | None) -> int | None:
    return None if both is None or memory is None else max(both - memory, 0)


def _shares(weight: int) -> int:
    """Return the shares of version 1 for a weight of version 2: runc's conversion, backwards."""
    return 2 + (weight - 1) * 262142 // 9999 if weight else 0


def _used_by_all() -> int | None:
    info = memory_info()
    if "MemTotal" not in info:
        return None
    return info["MemTotal"] - info.get("MemFree", 0)


def memory_info() -> Mapping[str, int]:
    """Return what the kernel says of the machine's memory, in bytes."""
    found = {}
    for line in text(Path("/proc/meminfo")).splitlines():
        key, _, rest = line.partition(":")
        value = rest.split()
        if value and value[0].isdigit():
            found[key] = int(value[0]) * 1024
    return found
