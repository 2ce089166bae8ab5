"""Claims and ingresses that name no class get the default one, where a class says it is that."""

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.default_class import newest_default
from minikube_py.api.networking import INGRESSES
from minikube_py.api.object import Obj, annotations_of, evolve, get
from minikube_py.api.storage import VOLUMEATTRIBUTESCLASSES
from minikube_py.api.storage.storageclass import BETA_DEFAULT_ANNOTATION, DEFAULT_ANNOTATION
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Admission, AdmissionPlugin

STORAGE_CLASS_BETA = "volume.beta.kubernetes.io/storage-class"
INGRESS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
INGRESS_CLASS_OLD = "kubernetes.io/ingress.class"
PROTECTION = {
    PERSISTENTVOLUMECLAIMS: "kubernetes.io/pvc-protection",
    PERSISTENTVOLUMES: "kubernetes.io/pv-protection",
    VOLUMEATTRIBUTESCLASSES: "kubernetes.io/vac-protection",
}


class DefaultStorageClass(AdmissionPlugin):
    """Gives a claim without a class the default one."""

    name = "DefaultStorageClass"
    resources = (PERSISTENTVOLUMECLAIMS,)

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def admit(self, admission: Admission) -> Obj | None:
        """Complete a new claim; "" means that none is wanted."""
        claim = admission.obj
        if not _is_new(admission, PERSISTENTVOLUMECLAIMS) or claim is None:
            return claim
        if STORAGE_CLASS_BETA in annotations_of(claim):
            return claim
        if get(claim, "spec.storageClassName") is not None:
            return claim
        default = newest_default(
            (item.obj for item in self._classes.items()),
            DEFAULT_ANNOTATION,
            BETA_DEFAULT_ANNOTATION,
        )
        return evolve(claim, "spec.storageClassName", default) if default else claim


class DefaultIngressClass(AdmissionPlugin):
    """Gives an ingress without a class the default one."""

    name = "DefaultIngressClass"
    resources = (INGRESSES,)

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def admit(self, admission: Admission) -> Obj | None:
        """Complete a new ingress."""
        ingress = admission.obj
        if not _is_new(admission, INGRESSES) or ingress is None:
            return ingress
        if INGRESS_CLASS_OLD in annotations_of(ingress):
            return ingress
        if get(ingress, "spec.ingressClassName") is not None:
            return ingress
        default = newest_default((item.obj for item in self._classes.items()), INGRESS_DEFAULT)
        return evolve(ingress, "spec.ingressClassName", default) if default else ingress


class StorageObjectInUseProtection(AdmissionPlugin):
    """Volumes and claims end only when nobody uses them: their controllers lift the finalizer."""

    name = "StorageObjectInUseProtection"
    resources = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, VOLUMEATTRIBUTESCLASSES)

    async def admit(self, admission: Admission) -> Obj | None:
        """Add the finalizer to a new volume or claim."""
        obj, finalizer = admission.obj, PROTECTION.get(admission.resource)
        if obj is None or finalizer is None or not _is_new(admission, admission.resource):
            return obj
        finalizers = obj["metadata"].get("finalizers") or ()
        if finalizer in finalizers:
            return obj
        return evolve(obj, "metadata.finalizers", [*finalizers, finalizer])


def _is_new(admission: Admission, resource: object) -> bool:
    return (
        admission.resource is resource
        and admission.operation == "CREATE"
        and not admission.subresource
    )
