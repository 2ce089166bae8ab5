"""A claim grows only where its storage class says that its volumes can."""

from collections.abc import Sequence
from typing import Final

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS
from minikube_py.api.core.quota import amounts
from minikube_py.api.core.quota_kinds import STORAGE_CLASS_BETA
from minikube_py.api.object import Key, Obj, annotations_of, get
from minikube_py.api.quantity import ZERO, Quantity
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin

NOT_BOUND: Final = "Only bound persistent volume claims can be expanded"
NOT_EXPANDABLE: Final = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
    "must support resize"
)


class PersistentVolumeClaimResize(AdmissionPlugin):
    """Refuses growth that no volume would follow."""

    name = "PersistentVolumeClaimResize"
    resources = (PERSISTENTVOLUMECLAIMS,)

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check an update that asks for more."""
        new, old = admission.obj, admission.old
        if admission.resource is not PERSISTENTVOLUMECLAIMS or admission.subresource:
            return ()
        if admission.operation != "UPDATE" or new is None or old is None:
            return ()
        if _size(new) <= _size(old):
            return ()
        if get(old, "status.phase") != "Bound":
            raise forbidden(admission, NOT_BOUND)
        if not self._is_expandable(new, old):
            raise forbidden(admission, NOT_EXPANDABLE)
        return ()

    def _is_expandable(self, new: Obj, old: Obj) -> bool:
        name = class_of(new)
        if not name or name != class_of(old):
            return False
        return get(self._classes.get(Key("", name)), "allowVolumeExpansion") is True


def _size(claim: Obj) -> Quantity:
    return amounts(get(claim, "spec.resources.requests")).get("storage", ZERO)


def class_of(claim: Obj) -> str:
    """Return the storage class of a claim, by its old annotation or its field."""
    old = annotations_of(claim).get(STORAGE_CLASS_BETA)
    return old if old is not None else str(get(claim, "spec.storageClassName", ""))
