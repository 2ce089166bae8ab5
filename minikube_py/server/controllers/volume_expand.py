"""Claims that ask for more than their volume has: says who is to make the volume larger.

No volume can be made larger from here any more: all drivers that could have left Kubernetes for
CSI, whose resizers follow the claims themselves. What stays is to tell the user for whom the claim
waits, and to name the resizer of volumes that were made by a driver that has left. Upstream:
pkg/controller/volume/expand.
"""

from collections.abc import Iterator

from minikube_py.api import quantity
from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.volume_matching import requested
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, get, key_of, uid_of
from minikube_py.client.actions import Action, Emit, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.volume_claims import MIGRATED

RESIZER = "volume.kubernetes.io/storage-resizer"
SOURCES = {
    "awsElasticBlockStore": "kubernetes.io/aws-ebs",
    "azureDisk": "kubernetes.io/azure-disk",
    "azureFile": "kubernetes.io/azure-file",
    "cinder": "kubernetes.io/cinder",
    "gcePersistentDisk": "kubernetes.io/gce-pd",
    "portworxVolume": "kubernetes.io/portworx-volume",
    "vsphereVolume": "kubernetes.io/vsphere-volume",
}
"""Sources of volumes whose drivers have left -> the names of those drivers."""


async def reconcile(key: Key, ctx: Context) -> None:
    """Tell of one claim who is to make its volume larger."""
    claim = ctx.lister(PERSISTENTVOLUMECLAIMS).get(key)
    if claim is None:
        return
    volume = ctx.lister(PERSISTENTVOLUMES).get(Key("", get(claim, "spec.volumeName", "")))
    await ctx.apply(plan(claim, volume))


def plan(claim: Obj, volume: Obj | None) -> Iterator[Action]:
    """Name the resizer and say that it is waited for."""
    if volume is None or not wants_more(claim) or not _is_its(volume, claim):
        return
    left = next((name for source, name in SOURCES.items() if source in volume["spec"]), "")
    if not left:
        text = "waiting for an external controller to expand this PVC"
        yield Emit(claim, "Normal", "ExternalExpanding", text)
    elif annotations_of(claim).get(RESIZER) != MIGRATED[left]:
        patch = {"metadata": {"annotations": {RESIZER: MIGRATED[left]}}}
        yield Patch(PERSISTENTVOLUMECLAIMS, key_of(claim), patch, subresource="status")
        text = f"CSI migration enabled for {left}; waiting for external resizer to expand the pvc"
        yield Emit(claim, "Normal", "ExternalExpanding", text)


def wants_more(claim: Obj) -> bool:
    """Tell whether a bound claim asks for more than it has."""
    has = get(claim, "status.capacity.storage")
    if get(claim, "status.phase") != "Bound" or has is None:
        return False
    return quantity.parse(has) < requested(claim)


def _is_its(volume: Obj, claim: Obj) -> bool:
    return bool(get(volume, "spec.claimRef.uid") == uid_of(claim))


def of_claim(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at claims that ask for more than before, and once at all when this starts."""
    if new is None or not wants_more(new.obj):
        return
    if old is None or requested(old.obj) != requested(new.obj):
        yield new.key


CONTROLLER = Controller(
    name="persistentvolume-expander-controller",
    user="expand-controller",
    also=(Also(PERSISTENTVOLUMECLAIMS, of_claim),),
    reads=(PERSISTENTVOLUMES,),
    reconcile=reconcile,
)
