"""What the kernel says of this process, under the names that every Prometheus client has."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from minikube_py.lib.prometheus import metric

PROC = Path("/proc/self")
_FIELDS = (
    ("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds."),
    ("process_max_fds", "gauge", "Maximum number of open file descriptors."),
    ("process_open_fds", "gauge", "Number of open file descriptors."),
    ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes."),
    (
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
    ),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes."),
    (
        "process_virtual_memory_max_bytes",
        "gauge",
        "Maximum amount of virtual memory available in bytes.",
    ),
)


def lines() -> Iterator[str]:
    """Yield the lines of the metrics page."""
    values = _values()
    for name, kind, meaning in _FIELDS:
        yield from metric(name, kind, meaning, [({}, values[name])])


def _values() -> dict[str, float]:
    # The name of the program may hold spaces and parentheses; what follows it does not.
    stat = (PROC / "stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    used = os.times()
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime ")
    )
    unlimited = resource.getrlimit(resource.RLIMIT_AS)[0]
    return {
        "process_cpu_seconds_total": used.user + used.system,
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "process_open_fds": len(os.listdir(PROC / "fd")),  # noqa: PTH208 -- names are enough
        "process_resident_memory_bytes": int(stat[21]) * resource.getpagesize(),
        "process_start_time_seconds": boot + int(stat[19]) / ticks,
        "process_virtual_memory_bytes": int(stat[20]),
        "process_virtual_memory_max_bytes": (
            2**64 - 1 if unlimited == resource.RLIM_INFINITY else unlimited
        ),
    }
