"""Jobs: pods that run until enough of them have succeeded, or too many have failed."""

from collections.abc import Iterator
from typing import NamedTuple

from minikube_py.api import selectors
from minikube_py.api.batch import JOBS
from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    condition_of,
    controller_of,
    evolve,
    get,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, Create, Delete, Emit, Patch, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.lib.tallies import Metric, Tallies
from minikube_py.server.controllers.adoption import adopters, claim, index_orphans
from minikube_py.server.controllers.job_counts import to_release
from minikube_py.server.controllers.job_outcome import (
    derive_status,
    is_finished,
    outcome,
    seconds_to_deadline,
)
from minikube_py.server.controllers.job_pods import (
    duplicates,
    pending_indexes,
    pod_for,
    ready_indexes,
    wanted_active,
)
from minikube_py.server.controllers.job_view import (
    FINALIZER,
    View,
    backoff_seconds,
    is_tracked,
)
from minikube_py.server.controllers.pod_facts import deletion_order, facts_of
from minikube_py.server.controllers.status import same_status

BURST_MAX = 500
NAME = "kubernetes.io/job-controller"


class LostPod(NamedTuple):
    """A pod whose job is gone."""

    key: Key


JOBS_FINISHED = Metric(
    "job_controller_jobs_finished_total",
    "[STABLE] The number of finished jobs",
    ("completion_mode", "result", "reason"),
)
PODS_FINISHED = Metric(
    "job_controller_job_pods_finished_total",
    "[STABLE] The number of finished Pods that are fully tracked",
    ("completion_mode", "result"),
)


async def reconcile(key: Key | LostPod, ctx: Context) -> float | None:
    """Bring one job closer to its end."""
    if isinstance(key, LostPod):
        await ctx.apply(plan_lost(ctx.lister(PODS).get(key.key), ctx))
        return None
    job = ctx.lister(JOBS).get(key)
    if job is None or is_managed_elsewhere(job):
        return None
    await ctx.apply(claim(job, selector_of(job), PODS, ctx.lister(PODS), FINALIZER).actions)
    view = observe(key, ctx)
    if view is None:
        return None
    if is_finished(view.job):
        await ctx.apply(release(pod) for pod in view.tracked.values())
        return None
    before, target = view.job, outcome(view)
    if not is_deleting(view.job):
        await ctx.apply(plan_pods(view, target))
    for step in (plan_status, plan_release, plan_status):
        view = observe(key, ctx)
        if view is None:
            return None
        await ctx.apply(step(view, target))
    count(before, ctx.lister(JOBS).get(key), ctx.tallies)
    return next_look(view, target)


def count(before: Obj, after: Obj | None, tallies: Tallies) -> None:
    """Count the pods that the status has come to count, and the job where it is over now."""
    if after is None:
        return
    mode = get(after, "spec.completionMode", "NonIndexed")
    for result in ("succeeded", "failed"):
        more = get(after, f"status.{result}", 0) - get(before, f"status.{result}", 0)
        tallies.count(PODS_FINISHED, mode, result, by=max(more, 0))
    if is_finished(after):
        failed = get(condition_of(after, "Failed"), "status") == "True"
        ended = condition_of(after, "Failed" if failed else "Complete")
        result = "failed" if failed else "succeeded"
        tallies.count(JOBS_FINISHED, mode, result, get(ended, "reason", ""))


def is_managed_elsewhere(job: Obj) -> bool:
    """Tell whether somebody else sees to the job."""
    return job["spec"].get("managedBy") not in (None, NAME)


def observe(key: Key, ctx: Context) -> View | None:
    """Return what the caches hold of a job."""
    job = ctx.lister(JOBS).get(key)
    return None if job is None else View(job, ctx.lister(PODS).controlled_by(job), ctx.now())


def next_look(view: View, target: Obj | None) -> float | None:
    """Return when time alone changes something: the deadline, or the end of a back-off."""
    if target is not None or view.spec.get("suspend"):
        return None
    waits = [wait for wait in (seconds_to_deadline(view), _creation_wait(view)) if wait]
    return min(waits, default=None)


def _creation_wait(view: View) -> float | None:
    """Return when the next pod may be made where its time has not come."""
    if not view.per_index:
        return backoff_seconds(view)
    return ready_indexes(view, _missing(view))[1]


def plan_pods(view: View, target: Obj | None) -> Iterator[Action]:
    """Decide which pods to create or to delete."""
    if target is not None:
        for pod in view.active:  # these count as failed where the job fails
            yield Delete(PODS, key_of(pod), uid_of(pod), announce=view.job)
        return
    wanted = 0 if view.spec.get("suspend") else wanted_active(view)
    surplus = list(_surplus(view, wanted))
    for pod in surplus[:BURST_MAX]:  # these do not
        if is_tracked(pod):
            yield release(pod)
        yield Delete(PODS, key_of(pod), uid_of(pod), announce=view.job)
    if not surplus:
        yield from _creations(view, _missing(view))


def _missing(view: View) -> int:
    """Return how many pods are to be made next, now or when their time has come."""
    missing = wanted_active(view) - len(view.active)
    if view.replaces_failed_only:
        missing -= len(view.terminating)
    return 0 if view.spec.get("suspend") else min(missing, BURST_MAX)


def _surplus(view: View, wanted: int) -> Iterator[Obj]:
    """Yield the active pods that are too many, those of an index that another has first."""
    by_uid = {uid_of(pod): pod for pod in view.active}
    ordered = [by_uid[one.uid] for one in deletion_order(map(facts_of, view.active), {}, view.now)]
    doubled: list[Obj] = []
    if view.indexed:
        doubled = list(duplicates(reversed(ordered), view.completions))
        ordered = [pod for pod in ordered if pod not in doubled]
    yield from doubled
    yield from ordered[: max(len(ordered) - wanted, 0)]


def _creations(view: View, number: int) -> Iterator[Action]:
    if view.per_index:
        chosen: list[int | None] = [*ready_indexes(view, number)[0]]
    elif backoff_seconds(view) > 0:
        return
    else:
        chosen = [*pending_indexes(view, number)] if view.indexed else [None] * max(number, 0)
    for index in chosen:
        yield Create(PODS, pod_for(view, index), announce=view.job)


def plan_status(view: View, target: Obj | None) -> Iterator[Action]:
    """Write the status where it differs, and tell of what has come true."""
    status = derive_status(view, target)
    if same_status(view.status, status):
        return
    after = evolve(view.job, "status", status)
    yield update_status(JOBS, after)
    yield from _announcements(view.job, after)


def _announcements(before: Obj, after: Obj) -> Iterator[Action]:
    if is_finished(after):
        failed = condition_of(after, "Failed")
        if failed is not None and failed["status"] == "True":
            yield Emit(after, "Warning", failed["reason"], failed["message"])
        else:
            yield from _completed(after)
    old, new = (get(condition_of(job, "Suspended"), "status") for job in (before, after))
    if new == "True" and old != "True":
        yield Emit(after, "Normal", "Suspended", "Job suspended")
    elif new == "False" and old == "True":
        yield Emit(after, "Normal", "Resumed", "Job resumed")


def _completed(job: Obj) -> Iterator[Emit]:
    completions = job["spec"].get("completions")
    if completions is not None and get(job, "status.succeeded", 0) > completions:
        text = "Too many succeeded pods running after completion count reached"
        yield Emit(job, "Warning", "TooManySucceededPods", text)
    yield Emit(job, "Normal", "Completed", "Job completed")


def plan_release(view: View, target: Obj | None) -> Iterator[Action]:
    """Take the finalizer off the pods that the status has noted, and off those it need not."""
    for pod in to_release(view, target):
        yield release(pod)


def release(pod: Obj) -> Patch:
    """Take the finalizer off one pod."""
    left = [name for name in pod["metadata"].get("finalizers") or () if name != FINALIZER]
    version = pod["metadata"].get("resourceVersion")
    metadata = {"uid": uid_of(pod), "resourceVersion": version, "finalizers": left or None}
    return Patch(PODS, key_of(pod), {"metadata": metadata}, missing_ok=True)


def plan_lost(pod: Obj | None, ctx: Context) -> Iterator[Action]:
    """Take the finalizer off a pod whose job is gone."""
    if pod is None or not is_tracked(pod):
        return
    owner = controller_of(pod)
    if owner is not None and (owner["apiVersion"], owner["kind"]) != ("batch/v1", "Job"):
        return
    if owner is None or ctx.lister(JOBS).with_uid(owner["uid"]) is None:
        yield release(pod)


def of_lost(old: Item | None, new: Item | None, ctx: Context) -> Iterator[LostPod]:
    """Look at tracked pods whose job is not known, or that a job has released."""
    if new is None or FINALIZER not in new.finalizers:
        return
    if old is not None and old.owners == new.owners:
        return
    if not any(ctx.lister(JOBS).with_uid(uid) for uid in new.owners):
        yield LostPod(new.key)


def of_gone_job(old: Item | None, new: Item | None, ctx: Context) -> Iterator[LostPod]:
    """Look at the pods of a job that is gone."""
    if new is None and old is not None:
        for item in ctx.lister(PODS).items_owned_by(old.uid):
            yield LostPod(item.key)


def selector_of(job: Obj) -> LabelSelector:
    """Return which pods a job means."""
    return selectors.from_object(job["spec"].get("selector"))


CONTROLLER = Controller(
    name="job-controller",
    watches=JOBS,
    owns=(PODS,),
    also=(
        Also(PODS, of_lost),
        Also(JOBS, of_gone_job),
        Also(PODS, adopters(JOBS, selector_of)),
    ),
    reconcile=reconcile,
    start=index_orphans(PODS),
)
