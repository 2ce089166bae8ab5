"""What the server tells Prometheus, under upstream's names, and what it tells of its own tasks.

A source is a function that yields lines; parts that count for themselves bring their own.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from minikube_py.api.resource import Resource
from minikube_py.client.controller import Load
from minikube_py.lib import stacks
from minikube_py.lib.prometheus import CONTENT_TYPE, histograms, metric
from minikube_py.server.apiserver.health import KINDS, Health
from minikube_py.server.apiserver.nonresource import Page, version
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.registry.store import Store

Source = Callable[[], Iterator[str]]


def pages(sources: Sequence[Source], health: Health) -> Mapping[str, Page]:
    """Return the pages by path."""
    return {
        "/metrics": Page(CONTENT_TYPE, functools.partial(_render, sources)),
        "/metrics/slis": Page(CONTENT_TYPE, functools.partial(_render, (Slis(health).lines,))),
        "/debug/tasks": Page(
            "text/plain; charset=utf-8", lambda: stacks.render(asyncio.get_running_loop())
        ),
    }


def _render(sources: Sequence[Source]) -> str:
    return "\n".join([*(line for source in sources for line in source()), ""])


class Slis:
    """The state of every check, and how often it was looked at: once for each reading."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def lines(self) -> Iterator[str]:
        """Yield the lines of the page."""
        now = [
            (name, kind, check() is None)
            for kind in KINDS
            for name, check in self._health.checks(kind).items()
        ]
        self._counts.update(
            (name, "success" if well else "error", kind) for name, kind, well in now
        )
        yield from metric(
            "kubernetes_healthcheck",
            "gauge",
            "This metric records the result of all healthchecks.",
            (({"name": name, "type": kind}, int(well)) for name, kind, well in now),
        )
        yield from metric(
            "kubernetes_healthchecks_total",
            "counter",
            "This metric records the results of all healthcheck.",
            (
                ({"name": name, "status": status, "type": kind}, count)
                for (name, status, kind), count in self._counts.items()
            ),
        )


def storage_size(size: int | None) -> Iterator[str]:
    """Yield how much room the datastore takes."""
    yield from metric(
        "apiserver_storage_size_bytes",
        "gauge",
        "[STABLE] Size of the storage database file physically allocated in bytes.",
        () if size is None else (({"storage_cluster_id": "kpy"}, size),),
    )


def storage(store: Store) -> Iterator[str]:
    """Yield what is stored, and what the watch cache has seen of it."""
    kinds = sorted(store.cache.kinds(), key=lambda kind: kind.resource.group_resource)
    yield from metric(
        "apiserver_storage_objects",
        "gauge",
        "[DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects "
        "at the time of last check split by kind.",
        (({"resource": kind.resource.group_resource}, len(kind)) for kind in kinds),
    )
    yield from metric(
        "apiserver_resource_objects",
        "gauge",
        "Number of stored objects at the time of last check split by kind.",
        ((_of(kind.resource), len(kind)) for kind in kinds),
    )
    yield from metric(
        "apiserver_watch_cache_events_received_total",
        "counter",
        "Counter of events received in watch cache broken by resource type.",
        ((_of(kind.resource), kind.received) for kind in kinds if kind.received),
    )
    yield from metric(
        "apiserver_watch_cache_resource_version",
        "gauge",
        "Current resource version of watch cache broken by resource type.",
        ((_of(kind.resource), kind.revision) for kind in kinds),
    )


def watches(store: Store, open_watches: Watches) -> Iterator[str]:
    """Yield what is watched."""
    resources = {kind.resource.group_resource: kind.resource for kind in store.cache.kinds()}
    now = Counter(kind.resource.group_resource for kind in open_watches.kinds())
    yield from metric(
        "apiserver_longrunning_requests",
        "gauge",
        "Gauge of all active long-running apiserver requests broken out by verb, group, version, "
        "resource, scope and component. Not all requests are tracked this way.",
        (
            (
                {
                    "component": "apiserver",
                    "group": resources[name].group,
                    "resource": resources[name].plural,
                    "scope": "",
                    "subresource": "",
                    "verb": "WATCH",
                    "version": resources[name].version,
                },
                count,
            )
            for name, count in sorted(now.items())
            if name in resources
        ),
    )
    yield from metric(
        "apiserver_watch_events_total",
        "counter",
        "Number of events sent in watch clients",
        (
            ({**_of(resources[name]), "version": resources[name].version}, count)
            for name, count in sorted(open_watches.sent().items())
            if name in resources and count
        ),
    )


def _of(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "resource": resource.plural}


def workqueues(loads: Mapping[str, Load]) -> Iterator[str]:
    """Yield what controllers have to do."""
    known = sorted(loads.items())
    yield from metric(
        "workqueue_depth",
        "gauge",
        "Current depth of workqueue",
        (({"name": name}, len(load.queue)) for name, load in known),
    )
    yield from metric(
        "workqueue_adds_total",
        "counter",
        "Total number of adds handled by workqueue",
        (({"name": name}, load.queue.adds) for name, load in known),
    )
    yield from metric(
        "workqueue_retries_total",
        "counter",
        "Total number of retries handled by workqueue",
        (({"name": name}, load.queue.retries) for name, load in known),
    )
    yield from metric(
        "workqueue_unfinished_work_seconds",
        "gauge",
        "How many seconds of work has done that is in progress and hasn't been observed by "
        "work_duration. Large values indicate stuck threads. One can deduce the number of stuck "
        "threads by observing the rate at which this increases.",
        (({"name": name}, sum(load.queue.busy_seconds())) for name, load in known),
    )
    yield from metric(
        "workqueue_longest_running_processor_seconds",
        "gauge",
        "How many seconds has the longest running processor for workqueue been running.",
        (({"name": name}, max(load.queue.busy_seconds(), default=0.0)) for name, load in known),
    )
    yield from histograms(
        "workqueue_queue_duration_seconds",
        "How long in seconds an item stays in workqueue before being requested.",
        (({"name": name}, load.queue.waits) for name, load in known),
    )
    yield from histograms(
        "workqueue_work_duration_seconds",
        "How long in seconds processing an item from workqueue takes.",
        (({"name": name}, load.seconds) for name, load in known),
    )


def build() -> Iterator[str]:
    """Yield which server this is."""
    shown = version()
    names = {
        "build_date": "buildDate",
        "compiler": "compiler",
        "git_commit": "gitCommit",
        "git_tree_state": "gitTreeState",
        "git_version": "gitVersion",
        "go_version": "goVersion",
        "major": "major",
        "minor": "minor",
        "platform": "platform",
    }
    labels = {label: str(shown[key]) for label, key in names.items()}
    meaning = (
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git "
        "tree state, build date, Go version, and compiler from which Kubernetes was built, and "
        "platform on which it is running."
    )
    yield from metric("kubernetes_build_info", "gauge", meaning, [(labels, 1)])
