"""The pods of a job: which are new, counted, or still to be counted, and which are to be made.

Every pod of a job carries a finalizer until it has been counted. A finished pod is first noted by
its uid in the job's status, then loses its finalizer, then moves into the counter: whatever dies
in between, no pod is counted twice and none is missed. Indexed jobs note the index, which is
enough.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from minikube_py.api import times
from minikube_py.api.batch import indexes
from minikube_py.api.object import Obj, annotations_of, evolve, get, is_deleting, uid_of
from minikube_py.server.controllers.job_failures import action_for
from minikube_py.server.controllers.pods import (
    is_active,
    is_ready,
    is_terminating,
    new_pod,
    phase_of,
)

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
BACKOFF_SECONDS, BACKOFF_MAX_SECONDS = 10.0, 600.0
"""Upstream's wait before a failed pod is replaced: doubled with each failure in a row."""


@dataclass(frozen=True)
class View:
    """A job and its pods at one moment."""

    job: Obj
    pods: Sequence[Obj]
    now: datetime

    @property
    def spec(self) -> Obj:
        """The job's spec."""
        spec: Obj = self.job["spec"]
        return spec

    @property
    def status(self) -> Obj:
        """The job's status as it was written."""
        return self.job.get("status") or {}

    @cached_property
    def indexed(self) -> bool:
        """Whether each completion has a number."""
        return bool(self.spec.get("completionMode") == "Indexed")

    @cached_property
    def active(self) -> list[Obj]:
        """The pods that run or will."""
        return [pod for pod in self.pods if is_active(pod)]

    @cached_property
    def terminating(self) -> list[Obj]:
        """The pods that are on their way out."""
        return [pod for pod in self.pods if is_terminating(pod)]

    @cached_property
    def replaces_failed_only(self) -> bool:
        """Whether a pod that is on its way out is waited for before it is replaced."""
        return bool(self.spec.get("podReplacementPolicy") == "Failed")

    @cached_property
    def uncounted(self) -> Mapping[str, Sequence[str]]:
        """The uids that are noted and not counted yet."""
        noted: Mapping[str, Sequence[str]] = self.status.get("uncountedTerminatedPods") or {}
        return noted

    @cached_property
    def tracked(self) -> Mapping[str, Obj]:
        """The pods that carry the finalizer, by uid."""
        return {uid_of(pod): pod for pod in self.pods if is_tracked(pod)}

    @cached_property
    def new_succeeded(self) -> list[Obj]:
        """Pods that succeeded and are not noted yet."""
        return [pod for pod in self._unnoted() if phase_of(pod) == "Succeeded"]

    @cached_property
    def new_failed(self) -> list[Obj]:
        """Pods that failed, are not noted yet, and count."""
        failed = (pod for pod in self._unnoted() if self.has_failed(pod))
        return [pod for pod in failed if action_for(self.job, pod) != "Ignore"]

    def _unnoted(self) -> Iterator[Obj]:
        noted = {*self.uncounted.get("succeeded", ()), *self.uncounted.get("failed", ())}
        return (pod for uid, pod in self.tracked.items() if uid not in noted)

    def has_failed(self, pod: Obj) -> bool:
        """Tell whether the pod failed, or was deleted before it could succeed."""
        if phase_of(pod) == "Failed":
            return True
        return is_terminating(pod) and not self.replaces_failed_only

    @cached_property
    def completed_indexes(self) -> set[int]:
        """The indexes that are done, those of new pods too."""
        done = set(_indexes(self.status.get("completedIndexes", ""), self.completions))
        done |= {index for pod in self.new_succeeded if (index := index_of(pod)) is not None}
        return {index for index in done if index < self.completions}

    @property
    def completions(self) -> int:
        """How many completions are wanted; the largest number where that is open."""
        completions = self.spec.get("completions")
        return 2**31 - 1 if completions is None else int(completions)

    @property
    def succeeded(self) -> int:
        """How many pods have succeeded, counted or not."""
        if self.indexed:
            return len(self.completed_indexes)
        noted = len(self.uncounted.get("succeeded", ()))
        return int(self.status.get("succeeded", 0)) + noted + len(self.new_succeeded)

    @property
    def failed(self) -> int:
        """How many pods have failed, counted or not."""
        noted = len(self.uncounted.get("failed", ()))
        return int(self.status.get("failed", 0)) + noted + len(self.new_failed)


def is_tracked(pod: Obj) -> bool:
    """Tell whether the pod has not been counted yet."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def index_of(pod: Obj) -> int | None:
    """Return the completion index of a pod."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def _indexes(text: str, completions: int) -> Iterator[int]:
    try:
        for first, last in indexes.parse(text, completions):
            yield from range(first, last + 1)
    except ValueError:
        return  # written before completions were lowered, or by somebody else


def counts(view: View) -> dict[str, Any]:
    """Return the counting part of the status: pods without their finalizer move into counters."""
    noted = {kind: list(view.uncounted.get(kind, ())) for kind in ("succeeded", "failed")}
    waiting = {kind: [u for u in uids if u in view.tracked] for kind, uids in noted.items()}
    status = {
        "active": len(view.active),
        "ready": sum(is_ready(pod) for pod in view.active),
        "terminating": len(view.terminating),
        "succeeded": view.status.get("succeeded", 0),
        "failed": view.status.get("failed", 0),
    }
    for kind, uids in noted.items():
        status[kind] += len(uids) - len(waiting[kind])
    waiting["failed"] += map(uid_of, view.new_failed)
    if view.indexed:
        status["completedIndexes"] = indexes.format_intervals(sorted(view.completed_indexes))
        status["succeeded"] = len(view.completed_indexes)
    else:
        waiting["succeeded"] += map(uid_of, view.new_succeeded)
    status["uncountedTerminatedPods"] = {kind: uids for kind, uids in waiting.items() if uids}
    return status


def to_release(view: View) -> Iterator[Obj]:
    """Yield the pods that may lose their finalizer: noted, not to be counted, or lost with it."""
    noted = {*view.uncounted.get("succeeded", ()), *view.uncounted.get("failed", ())}
    done = set(_indexes(view.status.get("completedIndexes", ""), view.completions))
    for uid, pod in view.tracked.items():
        ignored = view.has_failed(pod) and action_for(view.job, pod) == "Ignore"
        going = is_deleting(view.job) and not is_active(pod)
        if uid in noted or ignored or going or _is_done(view, pod, done):
            yield pod


def _is_done(view: View, pod: Obj, done: set[int]) -> bool:
    """Tell whether the pod's index is noted as done, or is none of the job's."""
    if not view.indexed or phase_of(pod) != "Succeeded":
        return False
    index = index_of(pod)
    return index is None or index >= view.completions or index in done


def wanted_active(view: View) -> int:
    """Return how many pods should run now."""
    parallelism = int(view.spec.get("parallelism", 1))
    if view.spec.get("completions") is None:
        # A work queue: once one pod has succeeded no new ones are made.
        return min(len(view.active), parallelism) if view.succeeded else parallelism
    return max(min(parallelism, view.completions - view.succeeded), 0)


def backoff_seconds(view: View) -> float:
    """Return how long to wait before a new pod, after failures with no success since."""
    succeeded = [finished_at(pod) for pod in view.pods if phase_of(pod) == "Succeeded"]
    last_success = max((moment for moment in succeeded if moment), default=None)
    failures = sorted(
        moment
        for pod in view.pods
        if phase_of(pod) == "Failed" and (moment := finished_at(pod)) is not None
        if last_success is None or moment > last_success
    )
    if not failures:
        return 0.0
    exponent = min(len(failures) - 1, 16)
    wait = min(BACKOFF_SECONDS * 2**exponent, BACKOFF_MAX_SECONDS)
    return max((failures[-1] + timedelta(seconds=wait) - view.now).total_seconds(), 0.0)


def finished_at(pod: Obj) -> datetime | None:
    """Return when the last container of the pod ended."""
    ends = (
        get(status, "state.terminated.finishedAt")
        for status in get(pod, "status.containerStatuses", ())
    )
    found = max((end for end in ends if end), default=None)
    moment = found or pod["metadata"].get("deletionTimestamp")
    return times.parse(moment) if moment else None


def pending_indexes(view: View, number: int) -> Iterator[int]:
    """Yield the first indexes that are neither done nor worked on."""
    busy = {index_of(pod) for pod in view.active}
    if view.replaces_failed_only:
        busy |= {index_of(pod) for pod in view.terminating}
    free = (
        index
        for index in range(view.completions)
        if index not in view.completed_indexes and index not in busy
    )
    return itertools.islice(free, max(number, 0))


def duplicates(pods: Iterable[Obj], completions: int) -> Iterator[Obj]:
    """Yield the pods whose index another one has, or nobody wants."""
    seen: set[int] = set()
    for pod in pods:
        index = index_of(pod)
        if index is None or index in seen or index >= completions:
            yield pod
        else:
            seen.add(index)


def pod_for(job: Obj, index: int | None = None) -> dict[str, Any]:
    """Return a new pod of the job, with its finalizer and, where indexed, its index."""
    pod = new_pod(job, job["spec"]["template"])
    finalizers = [*pod["metadata"].get("finalizers", ()), FINALIZER]
    pod = evolve(pod, "metadata.finalizers", finalizers)
    if index is None:
        return pod
    name = job["metadata"]["name"]
    pod = evolve(pod, ("metadata", "annotations", INDEX), str(index))
    pod = evolve(pod, ("metadata", "labels", INDEX), str(index))
    pod = evolve(pod, "metadata.generateName", f"{name}-{index}-")
    spec = {**pod["spec"], "hostname": f"{name}-{index}"}
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [_with_index(container) for container in spec[kind]]
    return {**pod, "spec": spec}


def _with_index(container: Obj) -> Obj:
    env: Sequence[Obj] = container.get("env") or ()
    if any(one["name"] == INDEX_VARIABLE for one in env):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*env, {"name": INDEX_VARIABLE, "valueFrom": source}]}
