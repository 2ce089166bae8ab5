"""Finished jobs with ttlSecondsAfterFinished are deleted when that time is over."""

from datetime import datetime

from minikube_py.api import times
from minikube_py.api.batch import JOBS
from minikube_py.api.object import Key, Obj, has_condition, is_deleting, uid_of
from minikube_py.api.object import get as value_of
from minikube_py.client.actions import Delete
from minikube_py.client.controller import Context, Controller

FOREGROUND = {"propagationPolicy": "Foreground"}


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Delete one job when its time is over; look again when it will be."""
    job = ctx.lister(JOBS).get(key)
    left = None if job is None else seconds_left(job, ctx.now())
    if job is None or left is None:
        return None
    if left > 0:
        return left
    await ctx.apply([Delete(JOBS, key, uid_of(job), options=FOREGROUND)])
    return None


def seconds_left(job: Obj, now: datetime) -> float | None:
    """Return how long a finished job stays; None where it stays or is not finished."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or is_deleting(job):
        return None
    for condition in value_of(job, "status.conditions", ()):
        if condition["type"] in ("Complete", "Failed") and has_condition(job, condition["type"]):
            since = times.parse(condition["lastTransitionTime"])
            return float(max(ttl - (now - since).total_seconds(), 0.0))
    return None


CONTROLLER = Controller(
    name="ttl-after-finished-controller",
    watches=JOBS,
    reconcile=reconcile,
)
