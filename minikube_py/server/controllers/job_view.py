"""A job and its pods at one moment: which are new, noted, counted, and which still to be counted.

Every pod of a job carries a finalizer until it has been counted. A finished pod is first noted by
its uid in the job's status, then loses its finalizer, then moves into the counter: whatever dies
in between, no pod is counted twice and none is missed. Indexed jobs note the index, which is
enough for those that succeeded.

With a limit of failures per index the number of failures stands in an annotation of the index'
newest pod; a failed pod keeps its finalizer until its successor has taken that number over.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from minikube_py.api import times
from minikube_py.api.batch import indexes
from minikube_py.api.batch.indexes import Intervals
from minikube_py.api.object import Obj, annotations_of, condition_of, get, uid_of
from minikube_py.server.controllers.job_failures import action_for
from minikube_py.server.controllers.pods import is_active, is_terminating, phase_of

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
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
    def per_index(self) -> bool:
        """Whether each index has a limit of failures of its own."""
        return self.indexed and self.spec.get("backoffLimitPerIndex") is not None

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
    def noted(self) -> frozenset[str]:
        """The uids that are noted, of whatever end."""
        return frozenset(uid for uids in self.uncounted.values() for uid in uids)

    @cached_property
    def tracked(self) -> Mapping[str, Obj]:
        """The pods that carry the finalizer, by uid."""
        return {uid_of(pod): pod for pod in self.pods if is_tracked(pod)}

    @cached_property
    def new_succeeded(self) -> list[Obj]:
        """Pods that succeeded and are not noted yet."""
        return [pod for pod in self._new() if phase_of(pod) == "Succeeded"]

    @cached_property
    def ended_badly(self) -> list[Obj]:
        """Pods that failed and are not noted yet, whether they count or not."""
        return [pod for pod in self._new() if self.has_failed(pod)]

    @cached_property
    def new_failed(self) -> list[Obj]:
        """Pods that failed, are not noted yet, and count."""
        return [pod for pod in self.ended_badly if action_for(self.job, pod) != "Ignore"]

    def _new(self) -> Iterator[Obj]:
        return (p for uid, p in self.tracked.items() if uid not in self.noted and self.is_valid(p))

    def is_valid(self, pod: Obj) -> bool:
        """Tell whether a pod has an index where it needs one."""
        index = index_of(pod)
        return not self.indexed or (index is not None and index < self.completions)

    def has_failed(self, pod: Obj) -> bool:
        """Tell whether the pod failed, or was deleted before it could succeed."""
        if phase_of(pod) == "Failed":
            return True
        return is_terminating(pod) and not self.replaces_failed_only

    @cached_property
    def noted_indexes(self) -> Intervals:
        """The indexes that the status says are done."""
        return indexes.lenient(self.status.get("completedIndexes") or "", self.completions)

    @cached_property
    def completed_indexes(self) -> Intervals:
        """The indexes that are done, those of new pods too."""
        new = (index_of(pod) for pod in self.new_succeeded)
        return indexes.union(self.noted_indexes, indexes.of(n for n in new if n is not None))

    @cached_property
    def failed_indexes(self) -> Intervals:
        """The indexes that will not be tried again; none without a limit per index."""
        if not self.per_index:
            return ()
        before = indexes.lenient(self.status.get("failedIndexes") or "", self.completions)
        tracked = (pod for pod in self.tracked.values() if self.is_valid(pod))
        lost = (index_of(pod) for pod in tracked if self._loses_index(pod))
        failed = {n for n in lost if n is not None and not indexes.has(self.completed_indexes, n)}
        return indexes.union(before, indexes.of(failed))

    def _loses_index(self, pod: Obj) -> bool:
        if not self.has_failed(pod):
            return False
        action = action_for(self.job, pod)
        limit: int = self.spec["backoffLimitPerIndex"]
        return action == "FailIndex" or (action != "Ignore" and failures_of(pod) >= limit)

    @cached_property
    def delayed(self) -> Mapping[int, Obj]:
        """The failed pods by index that stay until their successor is made."""
        found: dict[int, Obj] = {}
        if not self.per_index:
            return found
        busy = {index_of(pod) for pod in self.active}
        for pod in self.tracked.values():
            index = index_of(pod)
            if index is None or index in busy or not self.is_valid(pod):
                continue
            over = indexes.has(self.completed_indexes, index)
            if over or indexes.has(self.failed_indexes, index) or not self.has_failed(pod):
                continue
            if index not in found or _rank(pod) >= _rank(found[index]):
                found[index] = pod
        return found

    @cached_property
    def completions(self) -> int:
        """How many completions are wanted; the largest number where that is open."""
        completions = self.spec.get("completions")
        return 2**31 - 1 if completions is None else int(completions)

    @cached_property
    def succeeded(self) -> int:
        """How many pods have succeeded, counted or not."""
        if self.indexed:
            return indexes.count(self.completed_indexes)
        noted = len(self.uncounted.get("succeeded", ()))
        return int(self.status.get("succeeded", 0)) + noted + len(self.new_succeeded)

    @cached_property
    def failed(self) -> int:
        """How many pods have failed, counted or not."""
        noted = len(self.uncounted.get("failed", ()))
        return int(self.status.get("failed", 0)) + noted + len(self.new_failed)


def is_tracked(pod: Obj) -> bool:
    """Tell whether the pod has not been counted yet."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def index_of(pod: Obj) -> int | None:
    """Return the completion index of a pod."""
    return _number(annotations_of(pod).get(INDEX, ""))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) < 2**31 else None


def failures_of(pod: Obj) -> int:
    """Return how many pods of the same index failed before this one, and counted."""
    return _number(annotations_of(pod).get(FAILURES, "")) or 0


def ignored_failures_of(pod: Obj) -> int:
    """Return how many pods of the same index failed before this one, and did not count."""
    return _number(annotations_of(pod).get(IGNORED_FAILURES, "")) or 0


def _rank(pod: Obj) -> tuple[int, datetime]:
    return failures_of(pod) + ignored_failures_of(pod), finished_at(pod)


def finished_at(pod: Obj) -> datetime:
    """Return when a pod ended: its last container, else when it stopped being ready.

    A pod without a kubelet counts from when it was deleted.
    """
    metadata = pod["metadata"]
    if moment := _containers_end(pod):
        return times.parse(moment)
    ready = condition_of(pod, "Ready")
    if get(ready, "status") == "False" and get(ready, "lastTransitionTime"):
        return times.parse(get(ready, "lastTransitionTime"))
    if deleted := metadata.get("deletionTimestamp"):
        grace = metadata.get("deletionGracePeriodSeconds") or 0
        return times.parse(deleted) - times.span(grace)
    return times.parse(metadata["creationTimestamp"])


def _containers_end(pod: Obj) -> str:
    """Return when the last container ended, "" where one has not, or none is known."""
    statuses = get(pod, "status.containerStatuses", ())
    ends = [get(status, "state.terminated.finishedAt", "") for status in statuses]
    return max(ends) if ends and all(ends) else ""


def backoff_seconds(view: View) -> float:
    """Return how long to wait before a new pod, after failures with no success since."""
    ended = [pod for pod in view.pods if phase_of(pod) == "Succeeded"]
    last_success = max(map(finished_at, ended), default=None)
    failures = sorted(finished_at(pod) for pod in view.pods if view.has_failed(pod))
    if last_success is not None:
        failures = [moment for moment in failures if moment > last_success]
    return _left(len(failures), failures[-1], view.now) if failures else 0.0


def index_backoff_seconds(view: View, index: int) -> float:
    """Return how long an index waits for its next pod."""
    last = view.delayed.get(index)
    if last is None:
        return 0.0
    return _left(failures_of(last) + ignored_failures_of(last) + 1, finished_at(last), view.now)


def _left(failures: int, last: datetime, now: datetime) -> float:
    wait = min(BACKOFF_SECONDS * 2 ** min(failures - 1, 16), BACKOFF_MAX_SECONDS)
    return max((last + timedelta(seconds=wait) - now).total_seconds(), 0.0)
