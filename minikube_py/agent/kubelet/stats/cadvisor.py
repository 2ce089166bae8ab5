"""The page /metrics/cadvisor: every group in detail, under the names that cAdvisor gave.

A container's values carry its pod and image; those of a pod's own group have an empty container.
The network belongs to the pod and stands at the group of its sandbox.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from minikube_py.agent.kubelet.stats.sample import PodSample, Sample
from minikube_py.agent.kubelet.stats.usage import Cpu, Memory, Usage
from minikube_py.lib.prometheus import metric, timed_metric

NANOSECONDS = 1e9
Labels = Mapping[str, str]
NONE: Labels = MappingProxyType({})


class Machine(NamedTuple):
    """What there is to use."""

    cpus: int
    memory_bytes: int
    boot_id: str
    machine_id: str
    system_uuid: str


class _Group(NamedTuple):
    labels: Labels
    usage: Usage
    millis: int
    started: float = 0.0


class _OfCpu(NamedTuple):
    name: str
    kind: str
    meaning: str
    value: Callable[[Cpu], float | None]
    more: Labels = NONE


class _OfMemory(NamedTuple):
    name: str
    kind: str
    meaning: str
    value: Callable[[Memory], float | None]
    more: Labels = NONE


CPU = (
    _OfCpu("container_cpu_cfs_periods_total", "counter",
           "Number of elapsed enforcement period intervals.",
           lambda cpu: cpu.periods if cpu.quota_micros else None),
    _OfCpu("container_cpu_cfs_throttled_periods_total", "counter",
           "Number of throttled period intervals.",
           lambda cpu: cpu.throttled_periods if cpu.quota_micros else None),
    _OfCpu("container_cpu_cfs_throttled_seconds_total", "counter",
           "Total time duration the container has been throttled.",
           lambda cpu: cpu.throttled_nanoseconds / NANOSECONDS if cpu.quota_micros else None),
    _OfCpu("container_cpu_system_seconds_total", "counter",
           "Cumulative system cpu time consumed in seconds.",
           lambda cpu: cpu.system_nanoseconds / NANOSECONDS),
    _OfCpu("container_cpu_usage_seconds_total", "counter",
           "Cumulative cpu time consumed in seconds.",
           lambda cpu: cpu.nanoseconds / NANOSECONDS, {"cpu": "total"}),
    _OfCpu("container_cpu_user_seconds_total", "counter",
           "Cumulative user cpu time consumed in seconds.",
           lambda cpu: cpu.user_nanoseconds / NANOSECONDS),
    _OfCpu("container_spec_cpu_period", "gauge", "CPU period of the container.",
           lambda cpu: cpu.period_micros),
    _OfCpu("container_spec_cpu_quota", "gauge", "CPU quota of the container.",
           lambda cpu: cpu.quota_micros),
    _OfCpu("container_spec_cpu_shares", "gauge", "CPU share of the container.",
           lambda cpu: cpu.shares),
)  # fmt: skip
MEMORY = (
    _OfMemory("container_memory_cache", "gauge", "Number of bytes of page cache memory.",
              lambda memory: memory.cache),
    _OfMemory("container_memory_failures_total", "counter",
              "Cumulative count of memory allocation failures.",
              lambda memory: memory.page_faults,
              {"failure_type": "pgfault", "scope": "hierarchy"}),
    _OfMemory("container_memory_failures_total", "counter",
              "Cumulative count of memory allocation failures.",
              lambda memory: memory.major_page_faults,
              {"failure_type": "pgmajfault", "scope": "hierarchy"}),
    _OfMemory("container_memory_mapped_file", "gauge", "Size of memory mapped files in bytes.",
              lambda memory: memory.mapped_file),
    _OfMemory("container_memory_rss", "gauge", "Size of RSS in bytes.", lambda memory: memory.rss),
    _OfMemory("container_memory_swap", "gauge", "Container swap usage in bytes.",
              lambda memory: memory.swap),
    _OfMemory("container_memory_usage_bytes", "gauge",
              "Current memory usage in bytes, including all memory regardless of when it was "
              "accessed",
              lambda memory: memory.usage),
    _OfMemory("container_memory_working_set_bytes", "gauge", "Current working set in bytes.",
              lambda memory: memory.working_set),
    _OfMemory("container_spec_memory_limit_bytes", "gauge", "Memory limit for the container.",
              lambda memory: memory.limit or 0),
)  # fmt: skip
OF_CONTAINERS: tuple[tuple[str, str, str, Callable[[_Group], float]], ...] = (
    ("container_oom_events_total", "counter",
     "Count of out of memory events observed for the container",
     lambda one: one.usage.oom_kills),
    ("container_processes", "gauge", "Number of processes running inside the container.",
     lambda one: one.usage.processes),
    ("container_start_time_seconds", "gauge",
     "Start time of the container since unix epoch in seconds.",
     lambda one: one.started),
)  # fmt: skip
NETWORK = (
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", "rx_bytes"),
    ("container_network_receive_errors_total",
     "Cumulative count of errors encountered while receiving", "rx_errors"),
    ("container_network_receive_packets_dropped_total",
     "Cumulative count of packets dropped while receiving", "rx_dropped"),
    ("container_network_receive_packets_total",
     "Cumulative count of packets received", "rx_packets"),
    ("container_network_transmit_bytes_total",
     "Cumulative count of bytes transmitted", "tx_bytes"),
    ("container_network_transmit_errors_total",
     "Cumulative count of errors encountered while transmitting", "tx_errors"),
    ("container_network_transmit_packets_dropped_total",
     "Cumulative count of packets dropped while transmitting", "tx_dropped"),
    ("container_network_transmit_packets_total",
     "Cumulative count of packets transmitted", "tx_packets"),
)  # fmt: skip


PRESSURES = (("cpu", "CPU"), ("memory", "memory"), ("io", "IO"))
STALLS = (
    ("stalled", "full", "Total time duration no tasks in the container could make progress"),
    ("waiting", "some", "Total time duration tasks in the container have waited"),
)
MICROSECONDS = 1_000_000
"""In a second."""


def lines(now: Sample | None, machine: Machine) -> Iterator[str]:
    """Yield the lines of the page; None where reading failed."""
    if now is not None:
        groups = list(_groups(now))
        yield from _cpu(groups)
        yield from _memory(groups)
        yield from _pressure(groups)
        yield from _others(groups)
        yield from _network(now)
    yield from metric(
        "container_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        [({}, int(now is None))],
    )
    who = {
        "boot_id": machine.boot_id,
        "machine_id": machine.machine_id,
        "system_uuid": machine.system_uuid,
    }
    cores = "Number of logical CPU cores."
    yield from metric("machine_cpu_cores", "gauge", cores, [(who, machine.cpus)])
    memory = "Amount of memory installed on the machine."
    yield from metric("machine_memory_bytes", "gauge", memory, [(who, machine.memory_bytes)])


def _labels(group: str, **known: str) -> Labels:
    names = ("container", "id", "image", "name", "namespace", "pod")
    return {name: {"id": group, **known}.get(name, "") for name in names}


def _groups(now: Sample) -> Iterator[_Group]:
    yield _Group(_labels("/"), now.usage, now.at // 1_000_000)
    for pod in now.pods:
        metadata = pod.pod["metadata"]
        whose = {"namespace": metadata["namespace"], "pod": metadata["name"]}
        yield _Group(_labels(pod.group, **whose), pod.usage, pod.at // 1_000_000)
        for one in pod.containers:
            container = one.container
            labels = _labels(
                one.group,
                container=container.name,
                image=container.image,
                name=container.id,
                **whose,
            )
            started = container.started_at / NANOSECONDS
            yield _Group(labels, one.usage, one.at // 1_000_000, started)


def _cpu(groups: Sequence[_Group]) -> Iterator[str]:
    for what in CPU:
        yield from timed_metric(
            what.name,
            what.kind,
            what.meaning,
            (
                ({**one.labels, **what.more}, value, one.millis)
                for one in groups
                if one.usage.cpu is not None and (value := what.value(one.usage.cpu)) is not None
            ),
        )


def _memory(groups: Sequence[_Group]) -> Iterator[str]:
    heads: set[str] = set()
    for what in MEMORY:
        made = timed_metric(
            what.name,
            what.kind,
            what.meaning,
            (
                ({**one.labels, **what.more}, value, one.millis)
                for one in groups
                if one.usage.memory is not None
                and (value := what.value(one.usage.memory)) is not None
            ),
        )
        again = what.name in heads
        heads.add(what.name)
        yield from (line for line in made if not (again and line.startswith("#")))


def _pressure(groups: Sequence[_Group]) -> Iterator[str]:
    for kind, what in PRESSURES:
        for state, field, meaning in STALLS:
            points = (
                (one.labels, getattr(found, field).total / MICROSECONDS, one.millis)
                for one in groups
                if (found := one.usage.pressure.get(kind)) is not None
            )
            name = f"container_pressure_{kind}_{state}_seconds_total"
            yield from timed_metric(name, "counter", f"{meaning} due to {what} congestion.", points)


def _others(groups: Sequence[_Group]) -> Iterator[str]:
    seen = "Last time a container was seen by the exporter"
    points = ((one.labels, one.millis / 1000, one.millis) for one in groups)
    yield from timed_metric("container_last_seen", "gauge", seen, points)
    containers = [one for one in groups if one.started]
    for name, kind, meaning, value in OF_CONTAINERS:
        yield from timed_metric(
            name, kind, meaning, [(one.labels, value(one), one.millis) for one in containers]
        )


def _network(now: Sample) -> Iterator[str]:
    for name, meaning, field in NETWORK:
        yield from timed_metric(name, "counter", meaning, _carried(now, field))


def _carried(now: Sample, field: str) -> Iterator[tuple[Labels, float, int]]:
    for one in now.interfaces:
        labels = {**_labels("/"), "interface": one.name}
        yield labels, getattr(one, field), now.at // 1_000_000
    for pod in now.pods:
        for one in pod.interfaces:
            labels = {**_pod_labels(pod), "interface": one.name}
            yield labels, getattr(one, field), pod.at // 1_000_000


def _pod_labels(pod: PodSample) -> Labels:
    metadata = pod.pod["metadata"]
    group = f"{pod.group}/{pod.facts.sandbox_id}"
    return _labels(group, namespace=metadata["namespace"], pod=metadata["name"])
