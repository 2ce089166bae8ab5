"""How a deployment's replica sets change their sizes: one step at a time, all of it pure.

`rolling` and `recreate` replace old pods by new ones; `scaling` spreads a new number of replicas
over what there is while a rollout is under way or paused. The arithmetic is upstream's.
"""

import math
from collections.abc import Iterator

from minikube_py.api.apps import REPLICASETS
from minikube_py.api.object import Obj, annotations_of, evolve, get
from minikube_py.client.actions import Action, Emit, Update
from minikube_py.server.controllers.deployment_revisions import (
    DESIRED,
    MAX,
    View,
    active,
    available_of,
    by_age,
    is_rolling,
    max_surge,
    max_unavailable,
    replicas_of,
    size_annotations,
    sum_replicas,
)


def resize(deployment: Obj, rs: Obj, replicas: int) -> Iterator[Action]:
    """Give a replica set a size and note the deployment's; tell of it where the size changes."""
    before = replicas_of(rs)
    notes = size_annotations(deployment)
    if before == replicas and notes.items() <= annotations_of(rs).items():
        return
    wanted = evolve(rs, "metadata.annotations", {**annotations_of(rs), **notes})
    yield Update(REPLICASETS, evolve(wanted, "spec.replicas", replicas))
    if before != replicas:
        yield scaled(deployment, rs, before, replicas)


def scaled(deployment: Obj, rs: Obj, before: int, after: int) -> Emit:
    """Return the event that tells of a new size."""
    direction = "up" if after > before else "down"
    name = rs["metadata"]["name"]
    message = f"Scaled {direction} replica set {name} from {before} to {after}"
    return Emit(deployment, "Normal", "ScalingReplicaSet", message)


def first_size(view: View) -> int:
    """Return the size that a new replica set is created with."""
    if not is_rolling(view.deployment):
        return replicas_of(view.deployment)
    return _grown(view, 0)


def _grown(view: View, size: int) -> int:
    """Return the size of the new replica set that the surge leaves room for."""
    wanted = replicas_of(view.deployment)
    room = wanted + max_surge(view.deployment) - sum_replicas(view.all)
    return size + max(min(room, wanted - size), 0)


def rolling(view: View) -> Iterator[Action]:
    """Take the next step of a rolling update: grow the new one, or else shrink the old ones."""
    if view.new is None:
        return
    size, wanted = replicas_of(view.new), replicas_of(view.deployment)
    target = wanted if size > wanted else _grown(view, size)
    step = list(resize(view.deployment, view.new, target)) if target != size else []
    yield from step or _shrink_old(view)


def _shrink_old(view: View) -> Iterator[Action]:
    """Shrink old replica sets by unhealthy pods first, then by what availability allows."""
    deployment, new = view.deployment, view.new
    olds = active(view.old)
    if new is None or not olds:
        return
    least = replicas_of(deployment) - max_unavailable(deployment)
    new_unavailable = replicas_of(new) - available_of(new)
    budget = sum_replicas(view.all) - least - new_unavailable
    if budget <= 0:
        return
    sizes = {rs["metadata"]["name"]: replicas_of(rs) for rs in olds}
    for rs in olds:  # pods that are not available cost nothing
        name = rs["metadata"]["name"]
        cut = min(budget, max(sizes[name] - available_of(rs), 0))
        sizes[name] -= cut
        budget -= cut
    spare = max(sum(map(available_of, view.all)) - least, 0)
    for rs in olds:
        name = rs["metadata"]["name"]
        cut = min(spare, sizes[name])
        sizes[name] -= cut
        spare -= cut
    for rs in olds:
        size = sizes[rs["metadata"]["name"]]
        if size != replicas_of(rs):
            yield from resize(deployment, rs, size)


def shrink_all_old(view: View) -> Iterator[Action]:
    """Scale every old replica set to nothing."""
    for rs in active(view.old):
        yield from resize(view.deployment, rs, 0)


def grow_new(view: View) -> Iterator[Action]:
    """Scale the new replica set to the whole size at once."""
    if view.new is not None:
        yield from resize(view.deployment, view.new, replicas_of(view.deployment))


def is_scaling(view: View) -> bool:
    """Tell whether the deployment's size changed since its replica sets noted it."""
    wanted = str(replicas_of(view.deployment))
    noted = (annotations_of(rs).get(DESIRED) for rs in active(view.all))
    return any(note is not None and note != wanted for note in noted)


def scaling(view: View) -> Iterator[Action]:
    """Spread the deployment's size over its replica sets."""
    deployment, wanted = view.deployment, replicas_of(view.deployment)
    single = _active_or_latest(view)
    if single is not None:
        if replicas_of(single) != wanted or not _noted(single, deployment):
            yield from resize(deployment, single, wanted)
    elif view.new is not None and _is_saturated(view.new, deployment):
        yield from shrink_all_old(view)
    elif is_rolling(deployment):
        for rs, size in _proportions(view):
            yield from resize(deployment, rs, size)
    else:
        yield from shrink_all_old(view)


def _noted(rs: Obj, deployment: Obj) -> bool:
    return size_annotations(deployment).items() <= annotations_of(rs).items()


def _active_or_latest(view: View) -> Obj | None:
    """Return the only replica set with pods, the newest where none has any, None for several."""
    with_pods = active(view.all)
    if len(with_pods) == 1:
        return with_pods[0]
    if with_pods:
        return None
    return view.new or (view.old[-1] if view.old else None)


def _is_saturated(rs: Obj, deployment: Obj) -> bool:
    wanted = replicas_of(deployment)
    noted = annotations_of(rs).get(DESIRED) == str(wanted)
    return noted and replicas_of(rs) == wanted == available_of(rs)


def _proportions(view: View) -> Iterator[tuple[Obj, int]]:
    """Yield the size of each active replica set, in proportion to what each has now.

    The largest comes first (of equals the newest when growing, the oldest when shrinking) and
    takes what rounding leaves over.
    """
    deployment, sets = view.deployment, active(view.all)
    wanted = replicas_of(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - sum_replicas(sets)
    ordered = sorted(sets, key=by_age, reverse=to_add > 0)
    ordered.sort(key=replicas_of, reverse=True)
    sizes, added = [], 0
    for rs in ordered:
        share = _share(rs, deployment, to_add, added)
        sizes.append(replicas_of(rs) + share)
        added += share
    if sizes:
        sizes[0] = max(sizes[0] + to_add - added, 0)
    yield from zip(ordered, sizes, strict=True)


def _share(rs: Obj, deployment: Obj, to_add: int, added: int) -> int:
    """Return what a replica set gets of the pods to add, or gives of those to remove."""
    if to_add in (0, added):
        return 0
    left = to_add - added
    fraction = _fraction(rs, deployment)
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(rs: Obj, deployment: Obj) -> int:
    size = replicas_of(rs)
    if replicas_of(deployment) == 0:
        return -size
    noted = annotations_of(rs).get(MAX, "")
    before = int(noted) if noted.isdigit() else get(deployment, "status.replicas", 0)
    if not before:
        return 0
    total = replicas_of(deployment) + max_surge(deployment)
    return math.floor(size * total / before + 0.5) - size
