"""Stateful sets: numbered pods that keep their names and their claims.

Pods come one after the other, each when the one before it is available, and go in the opposite
order; with the policy Parallel nobody waits. A pod that ended or is of an old revision is deleted
and made again under its name. Volumes are bound to claims elsewhere.
"""

from collections.abc import Generator, Iterator

from minikube_py.api import intstr, selectors
from minikube_py.api.apps import CONTROLLERREVISIONS, STATEFULSETS
from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.errors import AlreadyExistsError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, is_deleting, key_of
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, Create, Delete, Emit, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.executor import is_terminating as is_namespace_terminating
from minikube_py.server.controllers.adoption import (
    adopters,
    claim,
    index_orphans,
    is_controlled_by,
)
from minikube_py.server.controllers.pod_facts import PodFacts, facts
from minikube_py.server.controllers.revision_data import same_data
from minikube_py.server.controllers.statefulset_pods import (
    View,
    has_stale_claim,
    is_member,
    is_rolling,
    owns_claim,
    partition_of,
    plan_claims,
    plan_identity,
    plan_retention,
    pod_for,
    revision_of,
    split_name,
)
from minikube_py.server.controllers.statefulset_revisions import (
    name_of,
    new_revision,
    plan_revision,
    plan_truncation,
    revisions_of,
    with_collision,
)
from minikube_py.server.controllers.statefulset_status import plan_status, seconds_to_next

BURST_MAX = 500
"""No more pods are made at a look; the next one does the rest."""
Steps = Generator[Action, None, bool]
"""Actions, and whether what follows has to wait."""


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Take the next steps of one stateful set."""
    sts, pods = ctx.lister(STATEFULSETS).get(key), ctx.lister(PODS)
    if sts is None:
        return None
    claimed = claim(sts, selector_of(sts), PODS, pods).actions
    await ctx.apply(a for a in claimed if not hasattr(a, "key") or is_member(sts, a.key.name))
    history = ctx.lister(CONTROLLERREVISIONS)
    await ctx.apply(claim(sts, selector_of(sts), CONTROLLERREVISIONS, history).actions)
    if not is_deleting(sts):
        await settle_revision(sts, ctx)
    view = observe(sts, ctx)
    if view is None:
        return None
    failure = await carry_out(view, ctx)
    seen = observe(sts, ctx) or view
    await ctx.apply(plan_status(seen))
    used = [revision_of(pod) for pod in seen.pods.values()]
    await ctx.apply(plan_truncation(sts, seen.revisions, used))
    if failure is not None and not is_namespace_terminating(failure):
        raise failure
    return seconds_to_next(seen)


async def settle_revision(sts: Obj, ctx: Context) -> None:
    """See that the template is the newest revision; choose another hash where its name is taken."""
    found = ctx.lister(CONTROLLERREVISIONS).controlled_by(sts)
    try:
        await ctx.apply(plan_revision(sts, found))
    except AlreadyExistsError:
        wanted = new_revision(sts, 0)
        key = key_of(wanted)
        there = await ctx.client.get(CONTROLLERREVISIONS, key.name, key.namespace)
        if not (is_controlled_by(there, sts) and same_data(there, wanted["data"])):
            await ctx.apply([update_status(STATEFULSETS, with_collision(sts))])
        raise


def observe(sts: Obj, ctx: Context) -> View | None:
    """Return what the caches hold of a stateful set; None where its template is unknown yet."""
    revisions = revisions_of(sts, ctx.lister(CONTROLLERREVISIONS).controlled_by(sts))
    if revisions is None:
        return None
    namespace, uid = sts["metadata"]["namespace"], sts["metadata"]["uid"]
    mine: dict[int, PodFacts] = {}
    strangers: set[str] = set()
    for item in ctx.lister(PODS).items(namespace):
        if not is_member(sts, item.key.name):
            continue
        if item.controller == uid:
            mine[split_name(item.key.name)[1]] = facts(item)
        else:
            strangers.add(item.key.name)
    claims = ctx.lister(PERSISTENTVOLUMECLAIMS).items(namespace)
    known = {one.key.name: one.obj for one in claims if owns_claim(sts, one.key.name)}
    return View(sts, revisions, mine, ctx.now(), known, frozenset(strangers))


async def carry_out(view: View, ctx: Context) -> StatusError | None:
    """Carry out the plan and tell of each step; return what stopped it."""
    for action in plan(view):
        try:
            await ctx.apply([action])
        except StatusError as error:
            if not is_namespace_terminating(error):
                await ctx.apply(told(view.sts, action, error))
            return error
        await ctx.apply(told(view.sts, action, None))
    return None


def told(sts: Obj, action: Action, error: StatusError | None) -> Iterator[Action]:
    """Tell of a step in upstream's words; a name that is taken is no news."""
    if not isinstance(action, Create | Delete) or isinstance(error, AlreadyExistsError):
        return
    verb = "create" if isinstance(action, Create) else "delete"
    name = action.obj["metadata"]["name"] if isinstance(action, Create) else action.key.name
    text, end = f"{verb} Pod {name} in StatefulSet {sts['metadata']['name']}", "successful"
    if action.resource is PERSISTENTVOLUMECLAIMS:
        pod = f"{sts['metadata']['name']}-{split_name(name)[1]}"
        text, end = f"create Claim {name} Pod {pod} in StatefulSet {sts['metadata']['name']}", ""
        end = "success"
    if error is None:
        yield Emit(sts, "Normal", f"Successful{verb.title()}", f"{text} {end}")
    else:
        yield Emit(sts, "Warning", f"Failed{verb.title()}", f"{text} failed error: {error}")


def plan(view: View) -> Iterator[Action]:
    """Decide the next steps: the wanted pods first, then those too many, then old revisions."""
    if is_deleting(view.sts):
        return
    if (yield from _all_wanted(view)):
        return
    for pod in view.condemned:
        yield from plan_retention(view, pod, split_name(pod.key.name)[1])
    for pod in view.condemned:
        if (yield from _condemned(view, pod)):
            return
    if is_rolling(view.sts):
        yield from _outdated(view)


def _all_wanted(view: View) -> Steps:
    """See that all ordinals have a pod that works, in order or all at once."""
    waits, made = False, 0
    for ordinal in view.ordinals:
        made += ordinal not in view.pods
        waits = (yield from _wanted(view, ordinal)) or waits
        if (waits and view.ordered) or made >= BURST_MAX:
            return True
    return waits


def _wanted(view: View, ordinal: int) -> Steps:
    """See that one ordinal has a pod that works."""
    pod = view.pods.get(ordinal)
    if pod is None:
        return (yield from _missing(view, ordinal))
    if pod.finished:
        yield from _ended(view, pod)
        return True
    if pod.phase == "Pending" and not has_stale_claim(view, ordinal):
        yield from plan_claims(view, ordinal)
    if view.ordered and (pod.deleting or not view.is_available(pod)):
        return True
    if not pod.deleting:
        yield from plan_identity(pod, ordinal)
        yield from plan_retention(view, pod, ordinal)
    return False


def _missing(view: View, ordinal: int) -> Steps:
    name = f"{view.sts['metadata']['name']}-{ordinal}"
    if name in view.strangers or has_stale_claim(view, ordinal):
        return True
    yield from plan_claims(view, ordinal)
    yield Create(PODS, pod_for(view, ordinal))
    return view.ordered


def _ended(view: View, pod: PodFacts) -> Iterator[Action]:
    """Delete a pod whose containers have ended; the next look makes it again."""
    if pod.deleting:
        return
    name = view.sts["metadata"]["name"]
    kind, reason = (
        ("failed", "RecreatingFailedPod")
        if pod.phase == "Failed"
        else ("terminated", "RecreatingTerminatedPod")
    )
    text = f"StatefulSet {view.sts['metadata']['namespace']}/{name} is recreating {kind} Pod"
    yield Emit(view.sts, "Warning", reason, f"{text} {pod.key.name}")
    yield Delete(PODS, pod.key, pod.uid)


def _condemned(view: View, pod: PodFacts) -> Steps:
    """Delete one pod that is too many; in order, only when all below it work."""
    if pod.deleting:
        return view.ordered
    blocked = view.ordered and not view.is_available(pod) and pod != _first_unhealthy(view)
    if not blocked:
        yield Delete(PODS, pod.key, pod.uid)
    return view.ordered


def _first_unhealthy(view: View) -> PodFacts | None:
    """Return the lowest of the pods that do not work, the wanted ones before the others."""
    wanted = (view.pods[n] for n in view.ordinals if n in view.pods)
    unhealthy = (
        pod
        for pod in (*wanted, *reversed(view.condemned))
        if pod.deleting or not view.is_available(pod)
    )
    return next(unhealthy, None)


def _outdated(view: View) -> Iterator[Action]:
    """Delete pods of old revisions, the highest first, as many as may be unavailable.

    An old pod that is unavailable anyhow goes first: that takes nothing from anybody.
    """
    least = view.start + partition_of(view.sts)
    update = name_of(view.revisions.update)
    pods = [(n, view.pods[n]) for n in reversed(view.ordinals) if n in view.pods]
    missing = len(view.ordinals) - len(pods)
    down = [pod for _, pod in pods if pod.deleting or not view.is_available(pod)]
    old = [p for n, p in pods if n >= least and revision_of(p) != update and not p.deleting]
    old_down = [pod for pod in old if pod in down]
    unavailable = missing + len(down)
    limit = max_unavailable(view.sts)
    doomed = old_down[: max(limit - (unavailable - len(old_down)), 0)]
    doomed += [pod for pod in old if pod not in down][: max(limit - unavailable, 0)]
    for pod in doomed:
        yield Delete(PODS, pod.key, pod.uid)


def max_unavailable(sts: Obj) -> int:
    """Return how many pods an update may take away at a time, at least one."""
    value = get(sts, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1)
    return max(intstr.scaled(value, sts["spec"].get("replicas", 1), round_up=True), 1)


def selector_of(sts: Obj) -> LabelSelector:
    """Return which pods a stateful set means."""
    return selectors.from_object(sts["spec"].get("selector"))


def of_gone_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look again when a pod is gone or another's: its name may be free now."""
    item = new or old
    if item is None or (new is not None and old is not None and new.owners == old.owners):
        return
    key = Key(item.key.namespace, split_name(item.key.name)[0])
    if key.name and ctx.lister(STATEFULSETS).item(key) is not None:
        yield key


def of_claim(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look again when a claim of a set comes, goes or gets another owner."""
    item = new or old
    if item is None or (old is not None and new is not None and old.owners == new.owners):
        return
    for sts in ctx.lister(STATEFULSETS).items(item.key.namespace):
        if owns_claim(sts.obj, item.key.name):
            yield sts.key


CONTROLLER = Controller(
    name="statefulset-controller",
    watches=STATEFULSETS,
    owns=(PODS, CONTROLLERREVISIONS),
    also=(
        Also(PODS, of_gone_pod),
        Also(PODS, adopters(STATEFULSETS, selector_of)),
        Also(PERSISTENTVOLUMECLAIMS, of_claim),
    ),
    reconcile=reconcile,
    start=index_orphans(PODS, CONTROLLERREVISIONS),
)
