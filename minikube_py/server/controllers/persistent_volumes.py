"""The binder of persistent volumes: every claim finds its volume, and no volume two claims.

A binding is four writes: the volume's spec names the claim, the volume is Bound, the claim's spec
names the volume, the claim is Bound. The first decides, because the volume's resourceVersion lets
only one claim win; the others follow from it. A plan is only ever the next write, made of what the
caches show after the last one, so a crash between any two of them is nothing special.

One worker looks at claims and volumes alike, as in upstream's
`pkg/controller/volume/persistentvolume`: two that look at once would choose the same volume.
Volumes are made and deleted by others (provisioners); this loop tells them by annotations.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.core.persistentvolume import class_of
from minikube_py.api.core.volume_matching import (
    BIND_COMPLETED,
    best_match,
    claims_of,
    waits_for_consumer,
)
from minikube_py.api.default_class import newest_default
from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, get, key_of, uid_of
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.api.storage.storageclass import BETA_DEFAULT_ANNOTATION, DEFAULT_ANNOTATION
from minikube_py.client.actions import Emit
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.volume_claims import ClaimView, plan_claim
from minikube_py.server.controllers.volume_reclaim import plan_volume

STEPS_MAX = 8
"""More writes than any claim or volume needs to come to rest."""
WAITING, NAMED = "waiting", "named"
"""Indexes of claims: unbound ones by their class, others by the volume that they name."""
FREE, CLAIMED = "free", "claimed"
"""Indexes of volumes: those of nobody by their class, others by the claim that they name."""
USED_BY = "claims"
"""Index of pods without a node by the claims that they name."""


class Subject(NamedTuple):
    """What is looked at."""

    kind: Literal["claim", "volume"]
    key: Key


async def reconcile(subject: Subject, ctx: Context) -> None:
    """Take the steps that one claim or volume needs, one write at a time."""
    step = step_of_claim if subject.kind == "claim" else step_of_volume
    for _ in range(STEPS_MAX):
        if not await step(subject.key, ctx):
            return


async def step_of_claim(key: Key, ctx: Context) -> bool:
    """Take the next step of a claim; tell whether something was written."""
    claim = ctx.lister(PERSISTENTVOLUMECLAIMS).get(key)
    if claim is None:
        return False
    actions = list(plan_claim(claim, observe(claim, ctx)))
    await ctx.apply(actions)
    return any(not isinstance(action, Emit) for action in actions)


async def step_of_volume(key: Key, ctx: Context) -> bool:
    """Take the next step of a volume; tell whether something was written."""
    volume = ctx.lister(PERSISTENTVOLUMES).get(key)
    if volume is None:
        return False
    actions = list(plan_volume(volume, await claim_of(volume, ctx)))
    await ctx.apply(actions)
    return any(not isinstance(action, Emit) for action in actions)


async def claim_of(volume: Obj, ctx: Context) -> Obj | None:
    """Return the claim that a volume is bound to, None where that is gone for good.

    A cache of claims may be behind the one of volumes. What follows may delete data, so a claim
    that the cache lacks is asked for.
    """
    ref = get(volume, "spec.claimRef") or {}
    key = Key(ref.get("namespace", ""), ref.get("name", ""))
    if not ref.get("uid"):
        return None
    claim = ctx.lister(PERSISTENTVOLUMECLAIMS).get(key)
    if claim is None or uid_of(claim) != ref["uid"]:
        try:
            claim = await ctx.client.get(PERSISTENTVOLUMECLAIMS, key.name, key.namespace)
        except NotFoundError:
            return None
    return claim if uid_of(claim) == ref["uid"] else None


def observe(claim: Obj, ctx: Context) -> ClaimView:
    """Return what the caches hold that matters for a claim."""
    key, volumes = key_of(claim), ctx.lister(PERSISTENTVOLUMES)
    name, class_name = get(claim, "spec.volumeName", ""), class_of(claim)
    classes = ctx.lister(STORAGECLASSES)
    storage_class = classes.get(Key("", class_name)) if class_name else None
    candidates: list[Item] = []
    waiting: list[Item] = []
    if not name:
        candidates = [*volumes.indexed(CLAIMED, str(key))]
        waiting = [*ctx.lister(PODS).indexed(USED_BY, str(key))]
    if not name and not waits_for_consumer(storage_class):
        candidates += volumes.indexed(FREE, class_name)
    return ClaimView(
        volume=volumes.get(Key("", name)) if name else None,
        candidates=[item.obj for item in candidates],
        storage_class=storage_class,
        default_class=newest_default(
            (item.obj for item in classes.items()), DEFAULT_ANNOTATION, BETA_DEFAULT_ANNOTATION
        ),
        pods=sorted(item.key.name for item in waiting),
    )


def of_claim(_old: Item | None, new: Item | None, ctx: Context) -> Iterator[Subject]:
    """Look at a claim that changed, and at the volumes that it names or is named by."""
    item = new or _old
    if item is None:
        return
    if new is not None:
        yield Subject("claim", new.key)
    name = get(item.obj, "spec.volumeName", "")
    if name:
        yield Subject("volume", Key("", name))
    for volume in ctx.lister(PERSISTENTVOLUMES).indexed(CLAIMED, str(item.key)):
        if volume.key.name != name:
            yield Subject("volume", volume.key)


def of_volume(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Subject]:
    """Look at a volume that changed, and at the claims that may have it or had it."""
    if new is not None:
        yield Subject("volume", new.key)
    claims = ctx.lister(PERSISTENTVOLUMECLAIMS)
    for item in (old, new):
        if item is None:
            continue
        for claim in claims.indexed(NAMED, item.key.name):
            yield Subject("claim", claim.key)
        ref = get(item.obj, "spec.claimRef")
        if ref is not None:
            yield Subject("claim", Key(ref.get("namespace", ""), ref.get("name", "")))
        elif item is new and get(item.obj, "status.phase") == "Available":
            yield from suited_by(item.obj, ctx)


def suited_by(volume: Obj, ctx: Context) -> Iterator[Subject]:
    """Yield the unbound claims that may have a free volume; others need not hear of it."""
    name = class_of(volume)
    if waits_for_consumer(ctx.lister(STORAGECLASSES).get(Key("", name)) if name else None):
        return
    for item in ctx.lister(PERSISTENTVOLUMECLAIMS).indexed(WAITING, name):
        if best_match(item.obj, [volume]) is not None:
            yield Subject("claim", item.key)


def waiting_for(class_name: str, ctx: Context) -> Iterable[Subject]:
    """Return the unbound claims of a class, oldest entry first."""
    found = ctx.lister(PERSISTENTVOLUMECLAIMS).indexed(WAITING, class_name)
    return [Subject("claim", item.key) for item in found]


def of_pod(old: Item | None, new: Item | None, _: Context) -> Iterator[Subject]:
    """Look at the claims that a new pod waits for: they say that it is it they wait for now."""
    if old is not None or new is None:
        return
    for name in _claims_of(new):
        yield Subject("claim", Key(*name.split("/", 1)))


def of_class(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Subject]:
    """Look at the claims that waited for a class, or for one to be the default."""
    if new is None or (old is not None and annotations_of(old.obj) == annotations_of(new.obj)):
        return
    yield from waiting_for(new.key.name, ctx)
    yield from waiting_for("", ctx)


def index(ctx: Context) -> None:
    """Make findable who waits for whom."""
    claims, volumes = ctx.lister(PERSISTENTVOLUMECLAIMS), ctx.lister(PERSISTENTVOLUMES)
    claims.add_index(WAITING, _waiting)
    claims.add_index(NAMED, lambda item: _present(get(item.obj, "spec.volumeName")))
    volumes.add_index(FREE, _free)
    volumes.add_index(CLAIMED, _claimed)
    ctx.lister(PODS).add_index(USED_BY, _claims_of)


def _present(value: Any) -> tuple[str, ...]:
    return (value,) if value else ()


def _waiting(item: Item) -> tuple[str, ...]:
    claim = item.obj
    named = get(claim, "spec.volumeName") or BIND_COMPLETED in annotations_of(claim)
    return () if named else (class_of(claim),)


def _free(item: Item) -> tuple[str, ...]:
    return () if get(item.obj, "spec.claimRef") else (class_of(item.obj),)


def _claimed(item: Item) -> tuple[str, ...]:
    ref = get(item.obj, "spec.claimRef")
    return (str(Key(ref.get("namespace", ""), ref.get("name", ""))),) if ref else ()


def _claims_of(item: Item) -> Iterator[str]:
    """Index pods that have no node yet by their claims: those are waited for."""
    if item.fields.get("spec.nodeName") or b"laim" not in item.data:
        return
    yield from (str(key) for _, key in claims_of(item.obj))


CONTROLLER = Controller(
    name="persistentvolume-controller",
    user="persistent-volume-binder",
    also=(
        Also(PERSISTENTVOLUMES, of_volume),
        Also(PERSISTENTVOLUMECLAIMS, of_claim),
        Also(STORAGECLASSES, of_class),
        Also(PODS, of_pod),
    ),
    reconcile=reconcile,
    workers=1,
    start=index,
)
