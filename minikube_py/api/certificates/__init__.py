"""The kinds of certificates.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.certificates.certificatesigningrequest import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (CERTIFICATESIGNINGREQUESTS,)

__all__ = [
    "CERTIFICATESIGNINGREQUESTS",
    "RESOURCES",
]
