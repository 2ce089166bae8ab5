"""The kinds of coordination.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.coordination.lease import LEASES
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (LEASES,)

__all__ = [
    "LEASES",
    "RESOURCES",
]
