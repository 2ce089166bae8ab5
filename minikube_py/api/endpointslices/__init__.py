"""The kinds of discovery.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.endpointslices.endpointslice import ENDPOINTSLICES
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (ENDPOINTSLICES,)

__all__ = [
    "ENDPOINTSLICES",
    "RESOURCES",
]
