"""Cron jobs: a job at every time of a schedule, and no more finished ones than are wanted.

A look does four things in one plan: it notes which jobs run and which have ended, starts what is
due, deletes finished jobs beyond the history limits, and writes the status. The name of a job is
made of its scheduled time, so what was started but not noted is found and not started twice.
"""

import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from minikube_py.api import cron, times
from minikube_py.api.batch import CRONJOBS, JOBS
from minikube_py.api.errors import AlreadyExistsError, StatusError
from minikube_py.api.object import (
    Key,
    Obj,
    evolve,
    get,
    has_condition,
    is_deleting,
    key_of,
    owner_reference,
    uid_of,
)
from minikube_py.client.actions import Action, Create, Delete, Emit, update_status
from minikube_py.client.controller import Context, Controller
from minikube_py.client.executor import is_terminating as is_namespace_terminating
from minikube_py.lib.tallies import Metric
from minikube_py.server.controllers.cronjob_schedule import (
    MISSED_MAX,
    Due,
    Times,
    due,
    seconds_to_next,
    times_of,
)
from minikube_py.server.controllers.job_outcome import is_finished
from minikube_py.server.controllers.status import same_status

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Annotation of a job: the time that it was made for, on the clock of the cron job's zone."""
BACKGROUND = {"propagationPolicy": "Background"}
TOO_MANY = (
    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
)
RUNNING = "Not starting job because prior execution is running and concurrency policy is Forbid"
ODD_ZONE = (
    'CRON_TZ or TZ used in schedule "{}" is not officially supported, see '
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)

SKEW = Metric(
    "cronjob_controller_job_creation_skew_duration_seconds",
    "[STABLE] Time between when a cronjob is scheduled to be run, and when the corresponding job "
    "is created",
    bounds=tuple(2.0**n for n in range(10)),
)


@dataclass(frozen=True)
class View:
    """A cron job and its jobs at one moment."""

    cronjob: Obj
    jobs: Sequence[Obj]
    now: datetime
    elsewhere: frozenset[str] = field(default_factory=frozenset)
    """The uids of active jobs that are there and no longer this cron job's."""

    @property
    def spec(self) -> Obj:
        """What the user wants."""
        spec: Obj = self.cronjob["spec"]
        return spec

    @property
    def active(self) -> Sequence[Obj]:
        """References to the jobs that were running when last looked at."""
        active: Sequence[Obj] = get(self.cronjob, "status.active") or ()
        return active


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Start what is due of one cron job, tidy up, and wait for the next time."""
    view = observe(key, ctx)
    if view is None:
        return None
    await ctx.apply(plan_noted(view))
    view = observe(key, ctx)
    if view is None or is_deleting(view.cronjob):
        return None
    schedule, complaint = schedule_of(view)
    await ctx.apply(complaint)
    if schedule is not None:
        await start(view, schedule, ctx)
    view = observe(key, ctx)
    if view is None:
        return None
    await ctx.apply(plan_history(view))
    return None if schedule is None else seconds_to_next(view.cronjob, schedule, ctx.now())


def observe(key: Key, ctx: Context) -> View | None:
    """Return what the caches hold of a cron job."""
    cronjob, jobs = ctx.lister(CRONJOBS).get(key), ctx.lister(JOBS)
    if cronjob is None:
        return None
    named = [one["uid"] for one in get(cronjob, "status.active") or ()]
    there = frozenset(uid for uid in named if jobs.with_uid(uid) is not None)
    return View(cronjob, jobs.controlled_by(cronjob), ctx.now(), there)


async def start(view: View, schedule: Times, ctx: Context) -> None:
    """Start the job that is due, where the policy lets it, and note it in the status."""
    found = due(view.cronjob, schedule, view.now)
    await ctx.apply(plan_missed(view, found))
    if found.time is None:
        return
    job = next((job for job in view.jobs if _name(job) == job_name(view, found.time)), None)
    if job is None:
        if is_held(view):
            await ctx.apply([Emit(view.cronjob, "Normal", "JobAlreadyActive", RUNNING)])
            return
        await ctx.apply(plan_replaced(view))
        job = await create(view, found.time, ctx)
    if job is not None:
        await ctx.apply(plan_started(view, found.time, job))


async def create(view: View, moment: datetime, ctx: Context) -> Obj | None:
    """Create the job of a time; None where something else has its name."""
    try:
        (job,) = await ctx.apply([Create(JOBS, job_for(view.cronjob, moment))])
    except AlreadyExistsError:
        return None  # where it is this cron job's, the cache will show it
    except StatusError as error:
        if not is_namespace_terminating(error):
            text = f"Error creating job: {error}"
            await ctx.apply([Emit(view.cronjob, "Warning", "FailedCreate", text)])
        raise
    await ctx.apply([Emit(view.cronjob, "Normal", "SuccessfulCreate", f"Created job {_name(job)}")])
    made = times.parse(job["metadata"]["creationTimestamp"])
    ctx.tallies.observe(SKEW, (made - moment).total_seconds())
    return job


def schedule_of(view: View) -> tuple[Times | None, Sequence[Emit]]:
    """Return the times of a cron job that may run, and what is wrong with them."""
    cronjob, spec = view.cronjob, view.spec
    zone = spec.get("timeZone")
    if zone is not None and not cron.is_zone(zone):
        text = f'invalid timeZone: "{zone}": unknown time zone {zone}'
        return None, [Emit(cronjob, "Warning", "UnknownTimeZone", text)]
    if spec.get("suspend"):
        return None, ()
    try:
        schedule = times_of(cronjob)
    except ValueError as error:
        text = f'unparseable schedule: "{spec["schedule"]}" : {error}'
        return None, [Emit(cronjob, "Warning", "UnparseableSchedule", text)]
    if "TZ" not in spec["schedule"]:
        return schedule, ()
    text = ODD_ZONE.format(spec["schedule"])
    return schedule, [Emit(cronjob, "Warning", "UnsupportedSchedule", text)]


def plan_noted(view: View) -> Iterator[Action]:
    """Note which jobs run no longer, and when one succeeded last."""
    yield from _surprises(view)
    status = evolve(view.cronjob.get("status") or {}, "active", list(_still_active(view)))
    if moment := _last_success(view):
        status = {**status, "lastSuccessfulTime": moment}
    if not same_status(view.cronjob.get("status") or {}, status):
        yield update_status(CRONJOBS, evolve(view.cronjob, "status", status))


def _surprises(view: View) -> Iterator[Emit]:
    cronjob, active = view.cronjob, {one["uid"] for one in view.active}
    children = {uid_of(job) for job in view.jobs}
    for job in view.jobs:
        if uid_of(job) in active and is_finished(job):
            kind = "Complete" if _succeeded(job) else "Failed"
            text = f"Saw completed job: {_name(job)}, condition: {kind}"
            yield Emit(cronjob, "Normal", "SawCompletedJob", text)
        elif uid_of(job) not in active and not is_finished(job) and not is_deleting(job):
            text = f"Saw a job that the controller did not create or forgot: {_name(job)}"
            yield Emit(cronjob, "Warning", "UnexpectedJob", text)
    for one in view.active:
        if one["uid"] not in children | view.elsewhere:
            text = f"Active job went missing: {one['name']}"
            yield Emit(cronjob, "Normal", "MissingJob", text)


def _still_active(view: View) -> Iterator[Obj]:
    finished = {uid_of(job): is_finished(job) for job in view.jobs}
    for one in view.active:
        if not finished.get(one["uid"], one["uid"] not in view.elsewhere):
            yield one


def _last_success(view: View) -> str:
    """Return the latest completion that is known, "" for none."""
    ends = (str(get(job, "status.completionTime", "")) for job in view.jobs if _succeeded(job))
    return max(str(get(view.cronjob, "status.lastSuccessfulTime", "")), *ends, "")


def plan_missed(view: View, found: Due) -> Iterator[Emit]:
    """Tell of times that have come and gone."""
    if found.missed > MISSED_MAX:
        yield Emit(view.cronjob, "Warning", "TooManyMissedTimes", TOO_MANY)


def is_held(view: View) -> bool:
    """Tell whether a job that runs keeps the next one from starting."""
    return view.spec["concurrencyPolicy"] == "Forbid" and bool(view.active)


def plan_replaced(view: View) -> Iterator[Action]:
    """Delete the jobs that run where the next one replaces them."""
    if view.spec["concurrencyPolicy"] != "Replace":
        return
    active = {one["uid"] for one in view.active}
    for job in view.jobs:
        if uid_of(job) in active:
            yield from _deletion(view.cronjob, job)


def _deletion(cronjob: Obj, job: Obj) -> Iterator[Action]:
    yield Delete(JOBS, key_of(job), uid_of(job), options=BACKGROUND)
    yield Emit(cronjob, "Normal", "SuccessfulDelete", f"Deleted job {_name(job)}")


def plan_started(view: View, moment: datetime, job: Obj) -> Iterator[Action]:
    """Note a job that was started."""
    kept = () if view.spec["concurrencyPolicy"] == "Replace" else view.active
    others = [one for one in kept if one["uid"] != uid_of(job)]
    active = others if is_finished(job) else [*others, reference(job)]
    before = view.cronjob.get("status") or {}
    noted = {**before, "active": active, "lastScheduleTime": times.format_seconds(moment)}
    yield update_status(CRONJOBS, evolve(view.cronjob, "status", noted))


def plan_history(view: View) -> Iterator[Action]:
    """Delete the oldest finished jobs beyond the limits."""
    if is_deleting(view.cronjob):
        return
    finished = [job for job in view.jobs if is_finished(job) and not is_deleting(job)]
    for limit, wanted in (("successfulJobsHistoryLimit", True), ("failedJobsHistoryLimit", False)):
        jobs = sorted((job for job in finished if _succeeded(job) == wanted), key=_by_start)
        surplus = len(jobs) - view.spec[limit] if view.spec.get(limit) is not None else 0
        for job in jobs[: max(surplus, 0)]:
            yield from _deletion(view.cronjob, job)


def _by_start(job: Obj) -> tuple[bool, str, str]:
    """Sort key: oldest first, what never started last."""
    started = get(job, "status.startTime") or ""
    return not started, started, _name(job)


def _succeeded(job: Obj) -> bool:
    return has_condition(job, "Complete")


def _name(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def job_name(view: View, moment: datetime) -> str:
    """Return the name of the job of a time: it counts minutes."""
    return _job_name(view.cronjob, moment)


def _job_name(cronjob: Obj, moment: datetime) -> str:
    return f"{_name(cronjob)}-{int(moment.timestamp()) // 60}"


def job_for(cronjob: Obj, moment: datetime) -> dict[str, Any]:
    """Return the job of a time."""
    template = cronjob["spec"]["jobTemplate"]
    given: Mapping[str, Any] = template.get("metadata") or {}
    zone = zoneinfo.ZoneInfo(cronjob["spec"].get("timeZone") or "UTC")
    stamp = moment.astimezone(zone).isoformat().replace("+00:00", "Z")
    metadata = {
        "name": _job_name(cronjob, moment),
        "namespace": cronjob["metadata"]["namespace"],
        "annotations": {**(given.get("annotations") or {}), SCHEDULED: stamp},
        "ownerReferences": [owner_reference(cronjob)],
    }
    if given.get("labels"):
        metadata["labels"] = given["labels"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": template["spec"],
    }


def reference(job: Obj) -> dict[str, Any]:
    """Return how the status names a job."""
    metadata = job["metadata"]
    return {
        "kind": "Job",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": "batch/v1",
        "resourceVersion": metadata["resourceVersion"],
    }


CONTROLLER = Controller(
    name="cronjob-controller",
    watches=CRONJOBS,
    owns=(JOBS,),
    reconcile=reconcile,
)
