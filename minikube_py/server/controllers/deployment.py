"""Deployments: replica sets that replace each other, as fast as availability allows.

Each look takes one step (create the new replica set, grow it, shrink old ones) and writes what it
sees into the status; the next look follows from the changes that the step causes.
"""

from collections.abc import Iterable, Iterator

from minikube_py.api import selectors
from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS
from minikube_py.api.core import PODS
from minikube_py.api.errors import AlreadyExistsError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    evolve,
    get,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, Create, Delete, Emit, Update, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.executor import is_terminating as is_namespace_terminating
from minikube_py.server.controllers.adoption import (
    adopters,
    claim,
    index_orphans,
    is_controlled_by,
)
from minikube_py.server.controllers.deployment_revisions import (
    REVISION,
    View,
    is_rolling,
    new_replicaset,
    replicas_of,
    revision_of,
    same_template,
    surplus_history,
    synced,
    view_of,
)
from minikube_py.server.controllers.deployment_rollback import plan_rollback, wanted_revision
from minikube_py.server.controllers.deployment_rollout import (
    first_size,
    grow_new,
    is_scaling,
    rolling,
    scaled,
    scaling,
    shrink_all_old,
)
from minikube_py.server.controllers.deployment_status import (
    PROGRESSING,
    base_status,
    has_deadline,
    is_complete,
    put,
    rollout_status,
    seconds_to_deadline,
)
from minikube_py.server.controllers.pods import is_finished
from minikube_py.server.controllers.status import condition, same_status

SELECTS_ALL = "This deployment is selecting all pods. A non-empty selector is required."


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Take the next step of one deployment."""
    deployment, sets = ctx.lister(DEPLOYMENTS).get(key), ctx.lister(REPLICASETS)
    if deployment is None:
        return None
    if not selector_of(deployment):
        await ctx.apply(refuse_empty_selector(deployment))
        return None
    await ctx.apply(claim(deployment, selector_of(deployment), REPLICASETS, sets).actions)
    view = view_of(deployment, sets.controlled_by(deployment), ctx.now())
    aside = plan_aside(view)
    if aside is not None:
        await ctx.apply(aside)
        return None
    waits = not is_rolling(deployment) and has_running(view, pods_of(view.old, ctx))
    created = None if waits else await create_new(view, ctx)
    if created is None:
        await ctx.apply(plan_rollout(view, waits=waits))
    seen = view_of(deployment, sets.controlled_by(deployment), ctx.now())
    status = rollout_status(seen, created)
    if is_complete(deployment, status):
        await ctx.apply(plan_cleanup(seen))
    await ctx.apply(plan_status(seen, status))
    return seconds_to_deadline(deployment, status, ctx.now())


def plan_aside(view: View) -> Iterator[Action] | None:
    """Return what there is to do instead of a rollout; None where that may take its next step."""
    deployment = view.deployment
    if is_deleting(deployment):
        return plan_status(view, base_status(view))
    if deployment["spec"].get("paused"):
        return plan_resting(view)
    revision = wanted_revision(deployment)
    if revision is not None:
        return plan_rollback(view, revision)
    return plan_resting(view) if is_scaling(view) else None


async def create_new(view: View, ctx: Context) -> Obj | None:
    """Create the new replica set where it is absent; return it."""
    actions = list(plan_new(view))
    if not actions:
        return None
    try:
        return (await ctx.apply(actions))[0]
    except AlreadyExistsError:
        await settle_collision(view, ctx)
        raise
    except StatusError as error:
        if not is_namespace_terminating(error):
            await ctx.apply(plan_failed_creation(view, error))
        raise


async def settle_collision(view: View, ctx: Context) -> None:
    """Choose another hash where the name is taken by something else than what was wanted."""
    key = key_of(new_replicaset(view, 0))
    deployment = view.deployment
    there = await ctx.client.get(REPLICASETS, key.name, key.namespace)
    template = deployment["spec"]["template"]
    if is_controlled_by(there, deployment) and same_template(there["spec"]["template"], template):
        return  # the cache will show it
    count = get(deployment, "status.collisionCount", 0) + 1
    status = evolve(deployment, "status.collisionCount", count)
    await ctx.apply([update_status(DEPLOYMENTS, status)])


def plan_new(view: View) -> Iterator[Action]:
    """Create the new replica set where it is absent."""
    if view.new is not None:
        return
    size = first_size(view)
    rs = new_replicaset(view, size)
    yield Create(REPLICASETS, rs)
    if size > 0:
        yield scaled(view.deployment, rs, 0, size)


def has_running(view: View, old_pods: Iterable[Obj]) -> bool:
    """Tell whether old replica sets want pods or have some that still run: a Recreate waits."""
    wanted = any(replicas_of(rs) or get(rs, "status.replicas", 0) for rs in view.old)
    return wanted or any(not is_finished(pod) for pod in old_pods)


def pods_of(replicasets: Iterable[Obj], ctx: Context) -> Iterator[Obj]:
    """Yield the pods of replica sets."""
    for rs in replicasets:
        yield from ctx.lister(PODS).controlled_by(rs)


def plan_failed_creation(view: View, error: StatusError) -> Iterator[Action]:
    """Say in the status and by an event that the new replica set cannot be created."""
    deployment, name = view.deployment, new_replicaset(view, 0)["metadata"]["name"]
    message = f'Failed to create new replica set "{name}": {error}'
    yield Emit(deployment, "Warning", "ReplicaSetCreateError", message)
    if has_deadline(deployment):
        failed = condition(PROGRESSING, "False", "ReplicaSetCreateError", message)
        conditions = put(get(deployment, "status.conditions", ()), failed, view.now)
        status = {**(deployment.get("status") or {}), "conditions": conditions}
        yield from plan_status(view, status)


def plan_rollout(view: View, *, waits: bool) -> Iterator[Action]:
    """Decide the next step towards the new replica set; `waits` while old pods run."""
    update = synced(view)
    if update is not None:
        yield Update(REPLICASETS, update)
    elif is_rolling(view.deployment):
        yield from rolling(view)
    elif waits:
        yield from shrink_all_old(view)
    else:
        yield from grow_new(view)


def plan_resting(view: View) -> Iterator[Action]:
    """Scale without rolling out: the deployment is paused, or its size changed just now.

    The new replica set follows the deployment's annotations and minReadySeconds all the same.
    """
    update = synced(view)
    if update is not None:
        yield Update(REPLICASETS, update)
        return
    yield from scaling(view)
    if view.deployment["spec"].get("paused"):
        yield from plan_cleanup(view)
    yield from plan_status(view, base_status(view))


def plan_cleanup(view: View) -> Iterator[Action]:
    """Delete old replica sets beyond the history limit."""
    for rs in surplus_history(view):
        yield Delete(REPLICASETS, key_of(rs), uid_of(rs))


def plan_status(view: View, status: Obj) -> Iterator[Action]:
    """Write status and revision where they differ."""
    deployment = view.deployment
    wanted: Obj = deployment
    if not same_status(deployment.get("status") or {}, status):
        wanted = evolve(wanted, "status", status)
    if view.new is not None and (number := revision_of(view.new)):
        annotations = annotations_of(deployment)
        if annotations.get(REVISION) != str(number):
            noted = {**annotations, REVISION: str(number)}
            wanted = evolve(wanted, "metadata.annotations", noted)
    if wanted is not deployment:
        yield update_status(DEPLOYMENTS, wanted)


def refuse_empty_selector(deployment: Obj) -> Iterator[Action]:
    """Say that a deployment may not mean every pod."""
    yield Emit(deployment, "Warning", "SelectingAll", SELECTS_ALL)
    generation = deployment["metadata"].get("generation", 0)
    if get(deployment, "status.observedGeneration", 0) < generation:
        status = evolve(deployment, "status.observedGeneration", generation)
        yield update_status(DEPLOYMENTS, status)


def selector_of(deployment: Obj) -> LabelSelector:
    """Return which replica sets and pods a deployment means."""
    return selectors.from_object(deployment["spec"].get("selector"))


def of_gone_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at a Recreate deployment when one of its pods is gone or finished."""
    for uid in old.owners if old is not None else ():
        rs = ctx.lister(REPLICASETS).with_uid(uid)
        owner = ctx.lister(DEPLOYMENTS).with_uid(rs.owners[0]) if rs and rs.owners else None
        if owner is None or b'"Recreate"' not in owner.data or is_rolling(owner.obj):
            continue
        if new is None or is_finished(new.obj):
            yield owner.key


CONTROLLER = Controller(
    name="deployment-controller",
    watches=DEPLOYMENTS,
    owns=(REPLICASETS,),
    also=(Also(PODS, of_gone_pod), Also(REPLICASETS, adopters(DEPLOYMENTS, selector_of))),
    reconcile=reconcile,
    start=index_orphans(REPLICASETS),
)
