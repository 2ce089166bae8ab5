"""The kinds of authorization.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.authorization.localsubjectaccessreview import LOCALSUBJECTACCESSREVIEWS
from minikube_py.api.authorization.selfsubjectaccessreview import SELFSUBJECTACCESSREVIEWS
from minikube_py.api.authorization.selfsubjectrulesreview import SELFSUBJECTRULESREVIEWS
from minikube_py.api.authorization.subjectaccessreview import SUBJECTACCESSREVIEWS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    LOCALSUBJECTACCESSREVIEWS,
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTRULESREVIEWS,
    SUBJECTACCESSREVIEWS,
)

__all__ = [
    "LOCALSUBJECTACCESSREVIEWS",
    "RESOURCES",
    "SELFSUBJECTACCESSREVIEWS",
    "SELFSUBJECTRULESREVIEWS",
    "SUBJECTACCESSREVIEWS",
]
