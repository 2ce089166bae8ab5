"""What a claim needs next: its volume, a provisioner, a default class, or the word that it is lost.

Pure. The cases and their words are those of upstream's `syncUnboundClaim` and `syncBoundClaim`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api import quantity
from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.persistentvolume import STORAGE_CLASS, class_of
from minikube_py.api.core.volume_matching import (
    BETA_STORAGE_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    best_match,
    bound_volume,
    is_bound_to,
    mismatch,
    waits_for_consumer,
)
from minikube_py.api.object import Obj, annotations_of, evolve, get, is_deleting, uid_of, without
from minikube_py.client.actions import Action, Emit, Update, update_status

PRE_RESIZE_CAPACITY = "volume.alpha.kubernetes.io/pre-resize-capacity"
"""On a volume that is being made larger: the size that its file system still has."""
MIGRATED = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/azure-file": "file.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
    "kubernetes.io/vsphere-volume": "csi.vsphere.vmware.com",
}
"""Provisioners that once were part of Kubernetes -> the CSI drivers that do their work."""


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """What a claim may have, as of one moment."""

    volume: Obj | None = None
    """The one that it names, if there is that one."""
    candidates: Sequence[Obj] = ()
    """Those that are meant for it, and those of its class that belong to nobody."""
    storage_class: Obj | None = None
    default_class: str = ""
    pods: Sequence[str] = ()
    """Names of pods without a node that use the claim."""


def plan_claim(claim: Obj, view: ClaimView) -> Iterator[Action]:
    """Decide on the next write for a claim, and on what to tell of it."""
    if BIND_COMPLETED in annotations_of(claim):
        yield from _plan_bound(claim, view.volume)
    elif is_deleting(claim) and not get(claim, "spec.volumeName"):
        return  # nobody can use it any more
    elif get(claim, "spec.volumeName"):
        yield from _plan_named(claim, view.volume)
    else:
        yield from _plan_unbound(claim, view)


def _plan_bound(claim: Obj, volume: Obj | None) -> Iterator[Action]:
    """See that a claim that was bound once still is."""
    if not get(claim, "spec.volumeName"):
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        yield from _lost(claim, "ClaimLost", text)
    elif volume is None:
        text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        yield from _lost(claim, "ClaimLost", text)
    elif get(volume, "spec.claimRef") is None or get(volume, "spec.claimRef.uid") == uid_of(claim):
        yield from plan_binding(volume, claim)
    else:
        text = "Two claims are bound to the same volume, this one is bound incorrectly"
        yield from _lost(claim, "ClaimMisbound", text)


def _lost(claim: Obj, reason: str, message: str) -> Iterator[Action]:
    if get(claim, "status.phase") != "Lost":
        yield from _set_status(claim, "Lost", None)
        yield Emit(claim, "Warning", reason, message)


def _plan_named(claim: Obj, volume: Obj | None) -> Iterator[Action]:
    """Bind a claim to the volume that its user or a provisioner chose, if it may have that."""
    if volume is None:
        yield from _set_status(claim, "Pending", None)
    elif get(volume, "spec.claimRef") is None:
        trouble = mismatch(volume, claim)
        if not trouble:
            yield from plan_binding(volume, claim)
            return
        text = f'Cannot bind to requested volume "{volume["metadata"]["name"]}": {trouble}'
        yield from _pending(claim, Emit(claim, "Warning", "VolumeMismatch", text))
    elif is_bound_to(volume, claim):
        yield from plan_binding(volume, claim)
    else:
        text = f'volume "{volume["metadata"]["name"]}" already bound to a different claim.'
        yield from _pending(claim, Emit(claim, "Warning", "FailedBinding", text))


def _plan_unbound(claim: Obj, view: ClaimView) -> Iterator[Action]:
    """Find a volume for a claim, or whoever is to make one."""
    delayed = waits_for_consumer(view.storage_class)
    volume = best_match(claim, view.candidates, delayed=delayed)
    if volume is not None:
        yield from plan_binding(volume, claim)
    elif view.default_class and _may_have_default(claim):
        # The cluster had no default class when the claim was made.
        yield _update(evolve(claim, "spec.storageClassName", view.default_class))
    else:
        yield from _pending(claim, _provision_or_tell(claim, view, delayed=delayed))


def _pending(claim: Obj, then: Update | Emit) -> Iterator[Action]:
    """See that the claim is Pending; when it is, do what follows."""
    writes = list(_set_status(claim, "Pending", None))
    yield from writes or (then,)


def _may_have_default(claim: Obj) -> bool:
    named = get(claim, "spec.storageClassName") is not None
    return not named and STORAGE_CLASS not in annotations_of(claim)


def _provision_or_tell(claim: Obj, view: ClaimView, *, delayed: bool) -> Update | Emit:
    if delayed and SELECTED_NODE not in annotations_of(claim):
        return _waits(claim, view.pods)
    if class_of(claim):
        return _provision(claim, view.storage_class)
    text = "no persistent volumes available for this claim and no storage class is set"
    return Emit(claim, "Normal", "FailedBinding", text)


def _waits(claim: Obj, pods: Sequence[str]) -> Emit:
    """Say for whom a claim waits that the scheduler is to find a place for."""
    if not pods:
        text = "waiting for first consumer to be created before binding"
        return Emit(claim, "Normal", "WaitForFirstConsumer", text)
    what = "pod" if len(pods) == 1 else "pods"
    text = f"waiting for {what} {','.join(pods)} to be scheduled"
    return Emit(claim, "Normal", "WaitForPodScheduled", text)


def _provision(claim: Obj, storage_class: Obj | None) -> Update | Emit:
    """Call the provisioner of the class by annotations; it answers with a volume."""
    if storage_class is None:
        text = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
        return Emit(claim, "Warning", "ProvisioningFailed", text)
    named = str(storage_class["provisioner"])
    driver = MIGRATED.get(named, named)
    if driver.startswith("kubernetes.io/"):
        text = f"no volume plugin matched name: {driver}"
        return Emit(claim, "Warning", "ProvisioningFailed", text)
    wanted = {STORAGE_PROVISIONER: driver, BETA_STORAGE_PROVISIONER: driver}
    annotations = annotations_of(claim)
    if not wanted.items() <= annotations.items():
        return _update(evolve(claim, "metadata.annotations", {**annotations, **wanted}))
    text = (
        "Waiting for a volume to be created either by the external provisioner "
        f"'{driver}' or manually by the system administrator. If volume creation is delayed, "
        "please verify that the provisioner is running and correctly registered."
    )
    return Emit(claim, "Normal", "ExternalProvisioning", text)


def plan_binding(volume: Obj, claim: Obj) -> Iterator[Action]:
    """Decide on the next of the four writes that bind a volume and a claim."""
    spec = bound_volume(volume, claim)
    if spec is not volume:
        yield Update(PERSISTENTVOLUMES, spec)
    elif get(volume, "status.phase") != "Bound":
        yield update_status(PERSISTENTVOLUMES, with_phase(volume, "Bound"))
    else:
        named = _naming(claim, volume["metadata"]["name"])
        if named is not claim:
            yield _update(named)
        else:
            yield from _set_status(claim, "Bound", volume)


def _naming(claim: Obj, name: str) -> Obj:
    """Return the claim with the volume in its spec; the same where it is there already."""
    annotations = dict(annotations_of(claim))
    if get(claim, "spec.volumeName") != name:
        annotations[BOUND_BY_CONTROLLER] = "yes"
    annotations.setdefault(BIND_COMPLETED, "yes")
    if get(claim, "spec.volumeName") == name and annotations == annotations_of(claim):
        return claim
    noted = evolve(claim, "metadata.annotations", annotations)
    return evolve(noted, "spec.volumeName", name)


def _set_status(claim: Obj, phase: str, volume: Obj | None) -> Iterator[Action]:
    """Write the status where it says something else."""
    old: Obj = claim.get("status") or {}
    new = _status(old, phase, volume)
    if new != old:
        yield update_status(PERSISTENTVOLUMECLAIMS, {**claim, "status": new})


def _status(old: Obj, phase: str, volume: Obj | None) -> dict[str, Any]:
    new = {**old, "phase": phase}
    if volume is None:
        new.pop("accessModes", None)
        new.pop("capacity", None)
        return new
    new["accessModes"] = volume["spec"].get("accessModes")
    size = annotations_of(volume).get(PRE_RESIZE_CAPACITY) or volume["spec"]["capacity"]["storage"]
    known = get(old, "capacity.storage")
    if known is None or quantity.parse(known) != quantity.parse(size):
        new["capacity"] = {**volume["spec"]["capacity"], "storage": size}
    attributes = get(volume, "spec.volumeAttributesClassName")
    if attributes and not old.get("currentVolumeAttributesClassName"):
        new["currentVolumeAttributesClassName"] = attributes
    return new


def _update(claim: Obj) -> Update:
    return Update(PERSISTENTVOLUMECLAIMS, claim)


def with_phase(volume: Obj, phase: str) -> Obj:
    """Return a volume in a phase, with no word of an earlier one."""
    return evolve(without(volume, "status.message"), "status.phase", phase)
