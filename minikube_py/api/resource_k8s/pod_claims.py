"""Which resource claims a pod has, whose they are and who may use them.

A pod names a claim, or a template of which one is made for it alone; the name of that stands in the
pod's status. A claim lists in `status.reservedFor` the pods that use it. Upstream: the package
`k8s.io/dynamic-resource-allocation/resourceclaim`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, controller_of, get, is_deleting, uid_of

FINALIZER: Final = "resource.kubernetes.io/delete-protection"
"""Keeps a claim that has devices until nobody uses it."""
POD_CLAIM_NAME: Final = "resource.kubernetes.io/pod-claim-name"
"""The annotation of a generated claim: for which of the pod's entries it was made."""
EXTENDED_CLAIM: Final = "resource.kubernetes.io/extended-resource-claim"
"""The annotation of a claim that the scheduler made for a pod's extended resources."""
ENDED: Final = ("Succeeded", "Failed")


class PodClaim(NamedTuple):
    """One entry of a pod's `spec.resourceClaims`."""

    entry: str
    """Its name in the pod."""
    claim: str | None
    """The claim's name; "" where it is known that none is needed, None as long as none was made."""
    template: str
    """The template that the claim is made of, "" where the pod names the claim."""


class ClaimError(ValueError):
    """A pod cannot use its claims now; the text is upstream's."""


def claims_of(pod: Obj) -> Iterator[PodClaim]:
    """Yield the entries of a pod."""
    statuses: Sequence[Obj] = get(pod, "status.resourceClaimStatuses") or ()
    made = {one["name"]: one.get("resourceClaimName") or "" for one in statuses}
    for entry in get(pod, "spec.resourceClaims") or ():
        template = entry.get("resourceClaimTemplateName") or ""
        claim = made.get(entry["name"]) if template else entry.get("resourceClaimName") or ""
        yield PodClaim(entry["name"], claim, template)


def may_have_claims(item: Item) -> bool:
    """Whether a pod could name claims, without parsing it: most do not, and pods change often."""
    return b'"resourceClaims"' in item.data or b'"extendedResourceClaimStatus"' in item.data


def names_of(pod: Obj) -> Sequence[str]:
    """Return the names of the claims that a pod has by now."""
    extended = get(pod, "status.extendedResourceClaimStatus.resourceClaimName")
    made = [extended] if extended else []
    return [*(one.claim for one in claims_of(pod) if one.claim), *made]


def key_of_pod(pod: Obj) -> str:
    """Return a pod as messages name it."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def check_owner(pod: Obj, claim: Obj) -> None:
    """Raise ClaimError where a generated claim is not this pod's."""
    owner = controller_of(claim)
    if owner is None or owner.get("uid") != uid_of(pod):
        shown = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        raise ClaimError(
            f"ResourceClaim {shown} was not created for Pod {key_of_pod(pod)} (Pod is not owner)"
        )


def key_in(pod: Obj, name: str) -> Key:
    """Return the key of a claim of a pod."""
    return Key(pod["metadata"]["namespace"], name)


def is_allocated(claim: Obj) -> bool:
    """Tell whether devices were chosen for a claim."""
    return get(claim, "status.allocation") is not None


def users_of(claim: Obj) -> Sequence[Obj]:
    """Return who uses a claim."""
    found: Sequence[Obj] = get(claim, "status.reservedFor") or ()
    return found


def is_reserved_for(pod: Obj, claim: Obj) -> bool:
    """Tell whether a claim is set aside for a pod."""
    return any(one.get("uid") == uid_of(pod) for one in users_of(claim))


def user_entry(pod: Obj) -> dict[str, Any]:
    """Return a pod as a claim lists it."""
    return {"resource": "pods", "name": pod["metadata"]["name"], "uid": uid_of(pod)}


def needs_claims(pod: Obj) -> bool:
    """Tell whether a pod runs or may run, so that its claims stay its own."""
    if get(pod, "status.phase") in ENDED:
        return False
    return not (is_deleting(pod) and not get(pod, "spec.nodeName"))


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """Tell whether a toleration of a request bears a taint of a device."""
    effect = toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    key = toleration.get("key")
    if key and key != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("value", "") == taint.get("value", ""))
