"""What a deployment's status says: counts, and whether the rollout moves, is done or is stuck.

Conditions follow upstream: Available, Progressing (with the deadline) and ReplicaFailure, with its
reasons and messages, which `kubectl rollout status` matches on.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from minikube_py.api import times
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.server.controllers.deployment_revisions import (
    View,
    available_of,
    max_unavailable,
    replicas_of,
    sum_replicas,
)
from minikube_py.server.controllers.status import condition

PROGRESSING = "Progressing"
COMPLETE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
Conditions = Sequence[Obj]


def counts(view: View) -> dict[str, Any]:
    """Return the status without its conditions."""
    available = sum(map(available_of, view.all))
    status = {
        "observedGeneration": view.deployment["metadata"].get("generation", 0),
        "replicas": _sum(view.all, "replicas"),
        "updatedReplicas": _sum([view.new] if view.new else [], "replicas"),
        "readyReplicas": _sum(view.all, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(sum_replicas(view.all) - available, 0),
        "terminatingReplicas": _sum(view.all, "terminatingReplicas"),
    }
    collisions = get(view.deployment, "status.collisionCount")
    return status if collisions is None else {**status, "collisionCount": collisions}


def _sum(replicasets: Sequence[Obj], name: str) -> int:
    return sum(get(rs, f"status.{name}", 0) for rs in replicasets)


def put(conditions: Conditions, new: Obj, now: datetime) -> Conditions:
    """Set a condition; one with the same status and reason stays as it is, times and message."""
    old = next((one for one in conditions if one["type"] == new["type"]), None)
    if old is not None and (old["status"], old.get("reason")) == (new["status"], new["reason"]):
        return conditions
    moment = times.format_seconds(now)
    since = moment
    if old is not None and old["status"] == new["status"]:
        since = old.get("lastTransitionTime", moment)
    stamped = {**new, "lastUpdateTime": moment, "lastTransitionTime": since}
    return [*drop(conditions, new["type"]), stamped]


def drop(conditions: Conditions, kind: str) -> Conditions:
    """Return the conditions without one type."""
    return [one for one in conditions if one["type"] != kind]


def base_status(view: View) -> dict[str, Any]:
    """Return the status that says nothing of a rollout: while paused, scaled or deleted."""
    deployment = view.deployment
    status = counts(view)
    conditions: Conditions = get(deployment, "status.conditions", ())
    conditions = _with_pause(deployment, conditions, view.now)
    least = replicas_of(deployment) - max_unavailable(deployment)
    if status["availableReplicas"] >= least:
        reason, text = "MinimumReplicasAvailable", "Deployment has minimum availability."
        available = condition("Available", "True", reason, text)
    else:
        reason, text = (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
        available = condition("Available", "False", reason, text)
    return {**status, "conditions": put(conditions, available, view.now)}


def _with_pause(deployment: Obj, conditions: Conditions, now: datetime) -> Conditions:
    """Say that the deployment is paused, so that the time does not count against the deadline."""
    reason = get(condition_of(deployment, PROGRESSING), "reason")
    if not has_deadline(deployment) or reason == TIMED_OUT:
        return conditions
    paused = get(deployment, "spec.paused", False)
    if paused and reason != PAUSED:
        new = condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused")
    elif not paused and reason == PAUSED:
        new = condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed")
    else:
        return conditions
    return put(conditions, new, now)


def rollout_status(view: View, created: Obj | None) -> dict[str, Any]:
    """Return the status while a rollout is under way; `created` is a replica set made just now."""
    status = base_status(view)
    conditions = status["conditions"]
    if not has_deadline(view.deployment):
        conditions = drop(conditions, PROGRESSING)
    elif created is not None:
        text = f'Created new replica set "{created["metadata"]["name"]}"'
        new = condition(PROGRESSING, "True", "NewReplicaSetCreated", text)
        conditions = put(conditions, new, view.now)
    else:
        conditions = _with_progress(view, status, conditions)
    conditions = _with_failure(view, conditions)
    return {**status, "conditions": conditions}


def _with_progress(view: View, status: Obj, conditions: Conditions) -> Conditions:
    current = next((one for one in conditions if one["type"] == PROGRESSING), None)
    if current is None and view.new is not None:
        text = f'Found new replica set "{view.new["metadata"]["name"]}"'
        found = condition(PROGRESSING, "True", "FoundNewReplicaSet", text)
        conditions = put(conditions, found, view.now)
        current = found
    reason = current.get("reason") if current is not None else None
    if status["replicas"] == status["updatedReplicas"] and reason == COMPLETE:
        return conditions
    what = _subject(view)
    if is_complete(view.deployment, status):
        new = condition(PROGRESSING, "True", COMPLETE, f"{what} has successfully progressed.")
    elif _is_progressing(view.deployment, status):
        new = condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{what} is progressing.")
        conditions = _renewed(conditions, current, new, view.now)
    elif _has_timed_out(view.deployment, current, view.now):
        new = condition(PROGRESSING, "False", TIMED_OUT, f"{what} has timed out progressing.")
    else:
        return conditions
    return put(conditions, new, view.now)


def _renewed(conditions: Conditions, current: Obj | None, new: Obj, now: datetime) -> Conditions:
    """Drop what would keep the old update time: every progress starts the deadline anew."""
    if current is None or current["status"] != "True":
        return conditions
    moment = times.format_seconds(now)
    since = current.get("lastTransitionTime", moment)
    stamped = {**new, "lastUpdateTime": moment, "lastTransitionTime": since}
    return [*drop(conditions, PROGRESSING), stamped]


def _subject(view: View) -> str:
    if view.new is not None:
        return f'ReplicaSet "{view.new["metadata"]["name"]}"'
    return f'Deployment "{view.deployment["metadata"]["name"]}"'


def _with_failure(view: View, conditions: Conditions) -> Conditions:
    """Pass on that a replica set cannot make its pods, the new one's word first."""
    sets = [view.new, *view.old] if view.new is not None else view.old
    failures = (condition_of(rs, "ReplicaFailure") for rs in sets)
    failure = next((one for one in failures if one is not None), None)
    if failure is None:
        return drop(conditions, "ReplicaFailure")
    new = condition(
        "ReplicaFailure", failure["status"], failure.get("reason", ""), failure.get("message", "")
    )
    return put(conditions, new, view.now)


def has_deadline(deployment: Obj) -> bool:
    """Tell whether a rollout may take too long; the largest int32 means that it may not."""
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds != 2**31 - 1


def is_complete(deployment: Obj, status: Obj) -> bool:
    """Tell whether all pods are new and available and no old one is left."""
    wanted = replicas_of(deployment)
    numbers = {status[name] for name in ("replicas", "updatedReplicas", "availableReplicas")}
    seen = status["observedGeneration"] >= deployment["metadata"].get("generation", 0)
    return numbers == {wanted} and seen


def _is_progressing(deployment: Obj, status: Obj) -> bool:
    old: Obj = deployment.get("status") or {}
    outdated = status["replicas"] - status["updatedReplicas"]
    before = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated < before or any(status[name] > old.get(name, 0) for name in grown)


def _has_timed_out(deployment: Obj, current: Obj | None, now: datetime) -> bool:
    if current is None or current.get("reason") == COMPLETE:
        return False
    if current.get("reason") == TIMED_OUT:
        return True
    return "lastUpdateTime" in current and _seconds_left(deployment, current, now) <= 0


def _seconds_left(deployment: Obj, current: Obj, now: datetime) -> float:
    since = times.parse(current["lastUpdateTime"])
    seconds: float = deployment["spec"]["progressDeadlineSeconds"]
    return seconds - (now - since).total_seconds()


def seconds_to_deadline(deployment: Obj, status: Obj, now: datetime) -> float | None:
    """Return when to look whether the rollout has stopped, None where nothing is waited for."""
    current = next((one for one in status["conditions"] if one["type"] == PROGRESSING), None)
    if not has_deadline(deployment) or current is None or "lastUpdateTime" not in current:
        return None
    if is_complete(deployment, status) or current.get("reason") in (TIMED_OUT, COMPLETE):
        return None
    return max(_seconds_left(deployment, current, now), 0.0) + 1.0
