"""Claims on devices are made of templates for pods, and given free when nobody uses them.

Two sorts of keys: for a pod, the claims that its entries lack are made and named in its status, and
a claim that was allocated otherwise is reserved for it; for a claim, pods that are over are taken
off its list, with the last one its devices are free, and one that was made for a pod goes with it.
Upstream: pkg/controller/resourceclaim.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from minikube_py.api.core import PODS
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    controller_of,
    evolve,
    get,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.resource_k8s import RESOURCECLAIMS, RESOURCECLAIMTEMPLATES
from minikube_py.api.resource_k8s.pod_claims import (
    FINALIZER,
    POD_CLAIM_NAME,
    ClaimError,
    PodClaim,
    check_owner,
    claims_of,
    is_allocated,
    is_reserved_for,
    key_in,
    may_have_claims,
    names_of,
    needs_claims,
    user_entry,
    users_of,
)
from minikube_py.client.actions import Action, Delete, Emit, Patch, Update
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.informer import Informer

BASE_MAX: Final = 57
"""Characters of a claim's name before the random end."""
BY_CLAIM: Final = "pods-by-resource-claim"


class Work(NamedTuple):
    """What to look at."""

    kind: Literal["pod", "claim"]
    key: Key


async def reconcile(work: Work, ctx: Context) -> None:
    """Look at one pod or claim."""
    if work.kind == "pod":
        await _reconcile_pod(work.key, ctx)
    else:
        await _reconcile_claim(work.key, ctx)


# --- pods -----------------------------------------------------------------------------------------


async def _reconcile_pod(key: Key, ctx: Context) -> None:
    pod = ctx.lister(PODS).get(key)
    if pod is None or is_deleting(pod) or not needs_claims(pod):
        return
    made: dict[str, str] = {}
    for entry in claims_of(pod):
        try:
            if (name := await _make(pod, entry, ctx)) is not None:
                made[entry.entry] = name
        except (ClaimError, StatusError) as error:
            text = f"PodResourceClaim {entry.entry}: {error}"
            await ctx.apply([Emit(pod, "Warning", "FailedResourceClaimCreation", text)])
            raise
    if made:
        await ctx.apply([named(pod, made)])
    if get(pod, "spec.nodeName"):
        await ctx.apply(reserved(pod, ctx.lister(RESOURCECLAIMS)))


async def _make(pod: Obj, entry: PodClaim, ctx: Context) -> str | None:
    """Return the name of the claim that an entry lacks, making it where there is none."""
    claims = ctx.lister(RESOURCECLAIMS)
    if not entry.template or entry.claim == "":
        return None
    there = claims.get(key_in(pod, entry.claim)) if entry.claim else None
    if there is not None and is_owned(pod, there):
        return None
    orphan = orphan_of(pod, entry, claims.owned_by(uid_of(pod)))
    if orphan is not None:
        return str(orphan["metadata"]["name"])
    template = ctx.lister(RESOURCECLAIMTEMPLATES).get(key_in(pod, entry.template))
    if template is None:
        raise ClaimError(
            f'resource claim template "{entry.template}": resourceclaimtemplate.resource.k8s.io '
            f'"{entry.template}" not found'
        )
    created = await ctx.client.create(RESOURCECLAIMS, generated(pod, entry, template))
    await claims.wait_for(int(created["metadata"]["resourceVersion"]))
    return str(created["metadata"]["name"])


def is_owned(pod: Obj, claim: Obj) -> bool:
    """Tell whether a generated claim is this pod's."""
    try:
        check_owner(pod, claim)
    except ClaimError:
        return False
    return True


def orphan_of(pod: Obj, entry: PodClaim, owned: Collection[Obj]) -> Obj | None:
    """Return the claim that was made for an entry before the pod's status could say so."""
    return next(
        (
            claim
            for claim in owned
            if annotations_of(claim).get(POD_CLAIM_NAME) == entry.entry and is_owned(pod, claim)
        ),
        None,
    )


def generated(pod: Obj, entry: PodClaim, template: Obj) -> dict[str, Any]:
    """Return the claim of a pod's entry."""
    wanted: Mapping[str, Any] = get(template, "spec.metadata") or {}
    name = pod["metadata"]["name"]
    base = f"{name}-{entry.entry}-"
    if len(base) > BASE_MAX:
        # Both names are cut in proportion, so that something of each is left.
        kept = [part[: len(part) * BASE_MAX // len(base)] for part in (name, entry.entry)]
        base = "-".join(kept)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid_of(pod)}
    metadata = {
        "generateName": base,
        "namespace": pod["metadata"]["namespace"],
        "annotations": {**(wanted.get("annotations") or {}), POD_CLAIM_NAME: entry.entry},
        "labels": dict(wanted.get("labels") or {}),
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": get(template, "spec.spec"),
    }


def named(pod: Obj, made: Mapping[str, str]) -> Patch:
    """Return the write that names a pod's claims in its status."""
    statuses = [{"name": entry, "resourceClaimName": claim} for entry, claim in made.items()]
    patch = {"metadata": {"uid": uid_of(pod)}, "status": {"resourceClaimStatuses": statuses}}
    return Patch(PODS, key_of(pod), patch, "strategic", "status", missing_ok=True)


def reserved(pod: Obj, claims: Informer) -> Iterator[Action]:
    """Reserve what was allocated otherwise for a pod that has a node already."""
    for name in names_of(pod):
        claim = claims.get(key_in(pod, name))
        if claim is None or not is_allocated(claim) or is_reserved_for(pod, claim):
            continue
        status = {**claim["status"], "reservedFor": [*users_of(claim), user_entry(pod)]}
        yield Update(RESOURCECLAIMS, {**claim, "status": status}, "status")


# --- claims ---------------------------------------------------------------------------------------


async def _reconcile_claim(key: Key, ctx: Context) -> None:
    claim = ctx.lister(RESOURCECLAIMS).get(key)
    if claim is None:
        return
    over = {uid for user in users_of(claim) if (uid := await _over(claim, user, ctx))}
    if (step := unused(claim, over)) is not None:
        (claim,) = await ctx.apply([step])
    # Only then or at the end: a scheduler puts the finalizer on before it chooses devices.
    if step is not None or is_deleting(claim):
        await ctx.apply(released(claim))
    await ctx.apply(abandoned(claim, ctx.lister(PODS)))


async def _over(claim: Obj, user: Obj, ctx: Context) -> str:
    """Return the uid of a user that does not need the claim any more, "" where it may."""
    uid = str(user.get("uid", ""))
    if user.get("apiGroup") or user.get("resource") != "pods":
        raise ClaimError(f"unsupported ReservedFor entry: {user}")
    key = key_in(claim, user["name"])
    pod = ctx.lister(PODS).get(key)
    if pod is None:
        try:  # Our cache may be behind: who takes a claim from a pod has to be sure.
            pod = await ctx.client.get(PODS, key.name, key.namespace)
        except NotFoundError:
            return uid
    return "" if uid_of(pod) == uid and needs_claims(pod) else uid


def unused(claim: Obj, over: Collection[str]) -> Update | None:
    """Take users off a claim; with the last one its devices are free."""
    before = users_of(claim)
    left = [user for user in before if user.get("uid") not in over]
    built_in = FINALIZER in (claim["metadata"].get("finalizers") or ())
    frees = not left and built_in and is_allocated(claim)
    if len(left) == len(before) and not (frees and is_deleting(claim)):
        return None
    status = dict(claim.get("status") or {})
    status.pop("reservedFor", None)
    if left:
        status["reservedFor"] = left
    if frees:
        status.pop("allocation", None)
        status.pop("devices", None)
    return Update(RESOURCECLAIMS, {**claim, "status": status}, "status")


def released(claim: Obj) -> Iterator[Action]:
    """Take the finalizer off a claim that has no devices any more."""
    finalizers = claim["metadata"].get("finalizers") or ()
    if FINALIZER in finalizers and not is_allocated(claim) and not users_of(claim):
        left = [name for name in finalizers if name != FINALIZER]
        yield Update(RESOURCECLAIMS, evolve(claim, "metadata.finalizers", left))


def abandoned(claim: Obj, pods: Informer) -> Iterator[Action]:
    """Delete a claim that was made for a pod which is over."""
    owner = controller_of(claim)
    if is_deleting(claim) or owner is None or owner.get("kind") != "Pod" or users_of(claim):
        return
    pod = pods.get(key_in(claim, owner["name"]))
    if pod is not None and (uid_of(pod) != owner["uid"] or not needs_claims(pod)):
        yield Delete(RESOURCECLAIMS, key_of(claim), uid_of(claim))


# --- what leads here ------------------------------------------------------------------------------


def _claims_index(item: Item) -> Iterator[str]:
    if may_have_claims(item):
        for name in names_of(item.obj):
            yield f"{item.key.namespace}/{name}"


def _start(ctx: Context) -> None:
    ctx.lister(PODS).add_index(BY_CLAIM, _claims_index)


def of_pod(old: Item | None, new: Item | None, _: Context) -> Iterator[Work]:
    """Look at a pod with claims; at its claims when it is over."""
    item = new or old
    if item is None or not may_have_claims(item):
        return
    if new is not None and needs_claims(new.obj):
        yield Work("pod", new.key)
    else:
        yield from (Work("claim", key_in(item.obj, name)) for name in names_of(item.obj))


def of_claim(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Work]:
    """Look at a claim, and at the pods that use it."""
    item = new or old
    if item is None:
        return
    if new is not None:
        yield Work("claim", item.key)
    where = f"{item.key.namespace}/{item.key.name}"
    for pod in ctx.lister(PODS).indexed(BY_CLAIM, where):
        yield Work("pod", pod.key)


def of_template(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Work]:
    """Look at the pods that waited for a template."""
    if old is not None or new is None:
        return
    for pod in ctx.lister(PODS).items(new.key.namespace):
        if any(entry.template == new.key.name for entry in claims_of(pod.obj)):
            yield Work("pod", pod.key)


CONTROLLER = Controller(
    name="resourceclaim-controller",
    user="resource-claim-controller",
    reconcile=reconcile,
    also=(
        Also(PODS, of_pod),
        Also(RESOURCECLAIMS, of_claim),
        Also(RESOURCECLAIMTEMPLATES, of_template),
    ),
    start=_start,
)
