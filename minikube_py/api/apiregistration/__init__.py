"""The kinds of apiregistration.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.apiregistration.apiservice import APISERVICES
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (APISERVICES,)

__all__ = [
    "APISERVICES",
    "RESOURCES",
]
