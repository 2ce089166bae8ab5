"""How a job ends: the condition that announces it, then, with no pod left, the final one.

The reasons and messages are upstream's.
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.api import times
from minikube_py.api.batch import indexes
from minikube_py.api.object import Obj, condition_of, get, has_condition
from minikube_py.server.controllers.job_counts import FAILURE_TARGET, SUCCESS_CRITERIA_MET, counts
from minikube_py.server.controllers.job_failures import match
from minikube_py.server.controllers.job_view import View
from minikube_py.server.controllers.pods import is_finished as has_ended
from minikube_py.server.controllers.status import condition

FINAL = {SUCCESS_CRITERIA_MET: "Complete", FAILURE_TARGET: "Failed"}
REACHED = "Reached expected number of succeeded pods"
SUSPENDED = ("True", "JobSuspended", "Job suspended")
RESUMED = ("False", "JobResumed", "Job resumed")


def is_finished(job: Obj) -> bool:
    """Tell whether the job is complete or failed."""
    return has_condition(job, "Complete") or has_condition(job, "Failed")


def outcome(view: View) -> Obj | None:
    """Return the condition that says how the job will end; None while that is open."""
    for kind in FINAL:
        known = condition_of(view.job, kind)
        if known is not None and known.get("status") == "True":
            return known
    return _failure(view) or _success(view)


def _failure(view: View) -> Obj | None:
    for pod in view.ended_badly:
        found = match(view.job, pod)
        if found is not None and found.action == "FailJob":
            return _failing("PodFailurePolicy", found.message)
    limit = view.spec.get("backoffLimit", 6)
    if view.failed > limit or _restarted_too_often(view, limit):
        return _failing("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = seconds_to_deadline(view)
    if left is not None and left <= 0:
        return _failing("DeadlineExceeded", "Job was active longer than specified deadline")
    return _failure_of_indexes(view)


def _failure_of_indexes(view: View) -> Obj | None:
    failed, most = indexes.count(view.failed_indexes), view.spec.get("maxFailedIndexes")
    if view.per_index and most is not None and failed > most:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return _failing("MaxFailedIndexesExceeded", text)
    if failed and failed + view.succeeded >= view.completions:
        return _failing("FailedIndexes", "Job has failed indexes")
    return None


def _failing(reason: str, message: str) -> Obj:
    return condition(FAILURE_TARGET, "True", reason, message)


def _restarted_too_often(view: View, limit: int) -> bool:
    """Tell whether containers that are restarted in place used up the limit."""
    if get(view.spec, "template.spec.restartPolicy") != "OnFailure":
        return False
    restarts: int = sum(
        status.get("restartCount", 0)
        for pod in view.pods
        if not has_ended(pod)
        for kind in ("initContainerStatuses", "containerStatuses")
        for status in get(pod, f"status.{kind}", ())
    )
    return restarts >= limit if limit else restarts > 0


def _success(view: View) -> Obj | None:
    if view.spec.get("completions") is None:
        done = view.succeeded > 0 and not view.active
    else:
        done = view.succeeded >= view.completions
    rule = _matched_rule(view)
    if rule is not None:
        text = f"Matched rules at index {rule}"
        return condition(SUCCESS_CRITERIA_MET, "True", "SuccessPolicy", text)
    return condition(SUCCESS_CRITERIA_MET, "True", "CompletionsReached", REACHED) if done else None


def _matched_rule(view: View) -> int | None:
    """Return which rule of the success policy holds first, None for none."""
    done = view.completed_indexes if view.indexed else ()
    for number, rule in enumerate(get(view.spec, "successPolicy.rules", ()) if done else ()):
        wanted, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        if wanted is None:
            if count is not None and indexes.count(done) >= count:
                return number
            continue
        needed = indexes.lenient(wanted, view.completions)
        have = indexes.common(needed, done)
        if needed and (have == indexes.count(needed) or (count is not None and have >= count)):
            return number
    return None


def seconds_to_deadline(view: View) -> float | None:
    """Return how long the job may still run; None where it has no deadline."""
    seconds, start = view.spec.get("activeDeadlineSeconds"), view.status.get("startTime")
    if seconds is None or start is None or view.spec.get("suspend"):
        return None
    return float(seconds - (view.now - times.parse(start)).total_seconds())


def derive_status(view: View, target: Obj | None) -> dict[str, Any]:
    """Return the status: counts, times, and the conditions that have come true."""
    status = {**view.status, **counts(view, target)}
    now = times.format_seconds(view.now)
    conditions: Sequence[Obj] = view.status.get("conditions") or ()
    suspended = bool(view.spec.get("suspend"))
    if "startTime" not in status and not suspended:
        status["startTime"] = now
    if target is None:
        before = get(condition_of(view.job, "Suspended"), "status")
        if suspended and before != "True":
            conditions = _put(conditions, condition("Suspended", *SUSPENDED), now)
            status.pop("startTime", None)
        elif not suspended and before == "True":
            conditions = _put(conditions, condition("Suspended", *RESUMED), now)
            status["startTime"] = now
    else:
        if condition_of(view.job, target["type"]) is None:
            conditions = _put(conditions, target, now)
        if _is_over(status):
            final = {**target, "type": FINAL[target["type"]]}
            conditions = _put(conditions, final, now)
            if final["type"] == "Complete":
                status["completionTime"] = now
    return {**status, "conditions": conditions}


def _is_over(status: Obj) -> bool:
    """Tell whether no pod is left that could change the counts."""
    return not (status["active"] or status["terminating"] or status["uncountedTerminatedPods"])


def _put(conditions: Sequence[Obj], new: Obj, now: str) -> Sequence[Obj]:
    others = [one for one in conditions if one["type"] != new["type"]]
    return [*others, {**new, "lastProbeTime": now, "lastTransitionTime": now}]
