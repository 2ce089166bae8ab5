"""The kinds of node.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.node.runtimeclass import RUNTIMECLASSES
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (RUNTIMECLASSES,)

__all__ = [
    "RESOURCES",
    "RUNTIMECLASSES",
]
