"""The kinds of scheduling.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.resource import Resource
from minikube_py.api.scheduling.priorityclass import PRIORITYCLASSES

RESOURCES: tuple[Resource, ...] = (PRIORITYCLASSES,)

__all__ = [
    "PRIORITYCLASSES",
    "RESOURCES",
]
