"""The pods of a job: how many there should be, of which indexes, and what a new one looks like."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minikube_py.api.batch import indexes
from minikube_py.api.object import Obj, evolve
from minikube_py.server.controllers.job_failures import action_for
from minikube_py.server.controllers.job_view import (
    FAILURES,
    FINALIZER,
    IGNORED_FAILURES,
    INDEX,
    View,
    failures_of,
    ignored_failures_of,
    index_backoff_seconds,
    index_of,
)
from minikube_py.server.controllers.pods import new_pod

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"


def wanted_active(view: View) -> int:
    """Return how many pods should run now."""
    parallelism = int(view.spec.get("parallelism", 1))
    if view.spec.get("completions") is None:
        # A work queue: once one pod has succeeded no new ones are made, and those that run may end.
        return len(view.active) if view.succeeded else parallelism
    return max(min(parallelism, view.completions - view.succeeded), 0)


def pending_indexes(view: View, number: int) -> Iterator[int]:
    """Yield the first indexes that are neither done nor given up nor worked on."""
    working = [*view.active, *(view.terminating if view.replaces_failed_only else ())]
    busy = indexes.of(n for n in map(index_of, working) if n is not None)
    taken = indexes.union(view.completed_indexes, view.failed_indexes, busy)
    return itertools.islice(indexes.missing(taken, view.completions), max(number, 0))


def ready_indexes(view: View, number: int) -> tuple[list[int], float | None]:
    """Return which of the pending indexes get a pod now, and when the next one will."""
    waits = {index: index_backoff_seconds(view, index) for index in pending_indexes(view, number)}
    later = min((wait for wait in waits.values() if wait > 0), default=None)
    return [index for index, wait in waits.items() if wait <= 0], later


def duplicates(pods: Iterable[Obj], completions: int) -> Iterator[Obj]:
    """Yield the pods whose index another one has, or nobody wants."""
    seen: set[int] = set()
    for pod in pods:
        index = index_of(pod)
        if index is None or index in seen or index >= completions:
            yield pod
        else:
            seen.add(index)


def pod_for(view: View, index: int | None = None) -> dict[str, Any]:
    """Return a new pod of the job, with its finalizer and, where indexed, its index."""
    job = view.job
    pod = new_pod(job, job["spec"]["template"])
    finalizers = dict.fromkeys((*pod["metadata"].get("finalizers", ()), FINALIZER))
    pod = evolve(pod, "metadata.finalizers", list(finalizers))
    if index is None:
        return pod
    name = job["metadata"]["name"]
    notes = {**pod["metadata"].get("annotations", {}), INDEX: str(index), **_failures(view, index)}
    pod = evolve(pod, "metadata.annotations", notes)
    pod = evolve(pod, ("metadata", "labels", INDEX), str(index))
    pod = evolve(pod, "metadata.generateName", f"{name}-{index}-")
    spec = {**pod["spec"], "hostname": f"{name}-{index}"}
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [_with_index(container) for container in spec[kind]]
    return {**pod, "spec": spec}


def _failures(view: View, index: int) -> dict[str, str]:
    """Return the annotations that count the failures of an index before its next pod."""
    if not view.per_index:
        return {}
    last = view.delayed.get(index)
    if last is None:
        return {FAILURES: "0"}
    counts = action_for(view.job, last) != "Ignore"
    ignored = ignored_failures_of(last) + (not counts)
    found = {FAILURES: str(failures_of(last) + counts)}
    return {**found, IGNORED_FAILURES: str(ignored)} if ignored else found


def _with_index(container: Obj) -> Obj:
    env: Sequence[Obj] = container.get("env") or ()
    if any(one["name"] == INDEX_VARIABLE for one in env):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*env, {"name": INDEX_VARIABLE, "valueFrom": source}]}
