"""Claims, volumes and classes of volume attributes stay while something uses them.

Admission gives each a finalizer; these loops take it away from one that is deleted as soon as
nothing uses it, and give it to one that has none. Upstream: pkg/controller/volume/pvcprotection,
pvprotection and vacprotection.
"""

from collections.abc import Iterable, Iterator

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, evolve, get, is_deleting, key_of
from minikube_py.api.resource import Resource
from minikube_py.api.storage import VOLUMEATTRIBUTESCLASSES
from minikube_py.client.actions import Action, Update
from minikube_py.client.controller import Also, Context, Controller

FINALIZERS = {
    PERSISTENTVOLUMECLAIMS: "kubernetes.io/pvc-protection",
    PERSISTENTVOLUMES: "kubernetes.io/pv-protection",
    VOLUMEATTRIBUTESCLASSES: "kubernetes.io/vac-protection",
}


async def reconcile_claim(key: Key, ctx: Context) -> None:
    """See to the finalizer of one claim."""
    claim = ctx.lister(PERSISTENTVOLUMECLAIMS).get(key)
    if claim is not None:
        pods = (item.obj for item in ctx.lister(PODS).items(key.namespace))
        used = is_deleting(claim) and any(key.name in claims_of(pod) for pod in pods)
        await ctx.apply(plan(PERSISTENTVOLUMECLAIMS, claim, used=used))


async def reconcile_volume(key: Key, ctx: Context) -> None:
    """See to the finalizer of one volume."""
    volume = ctx.lister(PERSISTENTVOLUMES).get(key)
    if volume is not None:
        used = get(volume, "status.phase") == "Bound"
        await ctx.apply(plan(PERSISTENTVOLUMES, volume, used=used))


async def reconcile_class(key: Key, ctx: Context) -> None:
    """See to the finalizer of one class of volume attributes."""
    found = ctx.lister(VOLUMEATTRIBUTESCLASSES).get(key)
    if found is not None:
        used = is_deleting(found) and any(
            key.name in classes_of(item.obj)
            for resource in (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)
            for item in ctx.lister(resource).items()
        )
        await ctx.apply(plan(VOLUMEATTRIBUTESCLASSES, found, used=used))


def plan(resource: Resource, obj: Obj, *, used: bool) -> Iterator[Action]:
    """Add the finalizer that is missing, or remove the one that is no longer needed."""
    own, finalizers = FINALIZERS[resource], get(obj, "metadata.finalizers") or ()
    if is_deleting(obj) and own in finalizers and not used:
        kept = [finalizer for finalizer in finalizers if finalizer != own]
        yield Update(resource, evolve(obj, "metadata.finalizers", kept))
    elif not is_deleting(obj) and own not in finalizers:
        yield Update(resource, evolve(obj, "metadata.finalizers", [*finalizers, own]))


def claims_of(pod: Obj) -> set[str]:
    """Return the names of the claims that a pod uses; one without a node uses none yet."""
    if not get(pod, "spec.nodeName"):
        return set()
    return set(_named_claims(pod))


def _named_claims(pod: Obj) -> Iterator[str]:
    for volume in get(pod, "spec.volumes", ()):
        claim = get(volume, "persistentVolumeClaim.claimName")
        if claim:
            yield claim
        elif "ephemeral" in volume:
            yield f"{pod['metadata']['name']}-{volume['name']}"


def classes_of(obj: Obj) -> set[str | None]:
    """Return the classes that a volume or a claim has, had or is to have."""
    return {
        get(obj, "spec.volumeAttributesClassName"),
        get(obj, "status.currentVolumeAttributesClassName"),
        get(obj, "status.modifyVolumeStatus.targetVolumeAttributesClassName"),
    }


def of_gone_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Return the claims of a pod that is gone."""
    del ctx
    if old is None or new is not None:
        return ()
    namespace = key_of(old.obj).namespace
    return [Key(namespace, name) for name in _named_claims(old.obj)]


def of_user(old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Return the classes that a volume or claim had and has no longer."""
    del ctx
    before = classes_of(old.obj) if old is not None else set()
    after = classes_of(new.obj) if new is not None else set()
    return [Key("", name) for name in before - after if name]


PVC_PROTECTION = Controller(
    name="persistentvolumeclaim-protection-controller",
    user="pvc-protection-controller",
    watches=PERSISTENTVOLUMECLAIMS,
    reconcile=reconcile_claim,
    also=(Also(PODS, of_gone_pod),),
)
PV_PROTECTION = Controller(
    name="persistentvolume-protection-controller",
    user="pv-protection-controller",
    watches=PERSISTENTVOLUMES,
    reconcile=reconcile_volume,
)
VAC_PROTECTION = Controller(
    name="volumeattributesclass-protection-controller",
    watches=VOLUMEATTRIBUTESCLASSES,
    reconcile=reconcile_class,
    also=(Also(PERSISTENTVOLUMECLAIMS, of_user), Also(PERSISTENTVOLUMES, of_user)),
)
