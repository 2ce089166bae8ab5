"""How the pods of a job are counted: what becomes of each pod that still has its finalizer."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from minikube_py.api.batch import indexes
from minikube_py.api.object import Obj, get, is_deleting, uid_of
from minikube_py.server.controllers.job_failures import action_for
from minikube_py.server.controllers.job_view import View, index_of
from minikube_py.server.controllers.pods import is_ready, phase_of

UNCOUNTED_MAX = 500
"""No more uids stand in a status at a time, as upstream has it; the next look does the rest."""
FAILURE_TARGET, SUCCESS_CRITERIA_MET = "FailureTarget", "SuccessCriteriaMet"


class Verdict(Enum):
    """What becomes of a pod that is not noted yet."""

    KEEP = "keep"  # its end is open, or it waits for its successor
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FREE = "free"  # it counts for nothing


def verdict(view: View, pod: Obj, target: Obj | None) -> Verdict:
    """Tell what becomes of a tracked pod; `target` is the condition that ends the job.

    In a job that fails every pod that has not succeeded has failed; in one that succeeds those
    that were stopped for it have not.
    """
    if phase_of(pod) == "Succeeded":
        known = view.indexed and (not view.is_valid(pod) or _is_noted(view, pod))
        return Verdict.FREE if known else Verdict.SUCCEEDED
    ending = get(target, "type")
    ended = phase_of(pod) == "Failed" or (ending is None and view.has_failed(pod))
    if not ended and ending != FAILURE_TARGET:
        gone = ending == SUCCESS_CRITERIA_MET or is_deleting(view.job)
        return Verdict.FREE if gone else Verdict.KEEP
    if ending is None and not is_deleting(view.job) and _is_delayed(view, pod):
        return Verdict.KEEP
    counted = view.is_valid(pod) and action_for(view.job, pod) != "Ignore"
    return Verdict.FAILED if counted else Verdict.FREE


def _is_noted(view: View, pod: Obj) -> bool:
    index = index_of(pod)
    return index is not None and indexes.has(view.noted_indexes, index)


def _is_delayed(view: View, pod: Obj) -> bool:
    index = index_of(pod)
    last = view.delayed.get(index) if index is not None else None
    return last is not None and uid_of(last) == uid_of(pod)


def counts(view: View, target: Obj | None = None) -> dict[str, Any]:
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
    for uid, pod in view.tracked.items():
        found = Verdict.KEEP if uid in view.noted else verdict(view, pod, target)
        indexed = view.indexed and found is Verdict.SUCCEEDED  # its index is noted instead
        if found.value in waiting and not indexed:
            waiting[found.value].append(uid)
        if sum(map(len, waiting.values())) >= UNCOUNTED_MAX:
            break
    status["uncountedTerminatedPods"] = {kind: uids for kind, uids in waiting.items() if uids}
    return {**status, **_of_indexes(view)}


def _of_indexes(view: View) -> dict[str, Any]:
    if not view.indexed:
        return {}
    done = view.completed_indexes
    found = {
        "completedIndexes": indexes.format_intervals(done),
        "succeeded": indexes.count(done),
    }
    if view.per_index:
        found["failedIndexes"] = indexes.format_intervals(view.failed_indexes)
    return found


def to_release(view: View, target: Obj | None = None) -> Iterator[Obj]:
    """Yield the pods that may lose their finalizer: noted, or counting for nothing."""
    for uid, pod in view.tracked.items():
        if uid in view.noted or verdict(view, pod, target) is Verdict.FREE:
            yield pod
