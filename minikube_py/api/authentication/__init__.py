"""The kinds of authentication.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.authentication.selfsubjectreview import SELFSUBJECTREVIEWS
from minikube_py.api.authentication.tokenreview import TOKENREVIEWS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    SELFSUBJECTREVIEWS,
    TOKENREVIEWS,
)

__all__ = [
    "RESOURCES",
    "SELFSUBJECTREVIEWS",
    "TOKENREVIEWS",
]
