"""The kinds of apiextensions.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.apiextensions.customresourcedefinition import CUSTOMRESOURCEDEFINITIONS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (CUSTOMRESOURCEDEFINITIONS,)

__all__ = [
    "CUSTOMRESOURCEDEFINITIONS",
    "RESOURCES",
]
