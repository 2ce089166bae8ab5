"""The kinds of resource.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s.deviceclass import DEVICECLASSES
from minikube_py.api.resource_k8s.resourceclaim import RESOURCECLAIMS
from minikube_py.api.resource_k8s.resourceclaimtemplate import RESOURCECLAIMTEMPLATES
from minikube_py.api.resource_k8s.resourceslice import RESOURCESLICES

RESOURCES: tuple[Resource, ...] = (
    DEVICECLASSES,
    RESOURCECLAIMS,
    RESOURCECLAIMTEMPLATES,
    RESOURCESLICES,
)

__all__ = [
    "DEVICECLASSES",
    "RESOURCECLAIMS",
    "RESOURCECLAIMTEMPLATES",
    "RESOURCES",
    "RESOURCESLICES",
]
