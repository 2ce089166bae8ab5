"""The kinds of rbac.authorization.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.rbac.clusterrole import CLUSTERROLES
from minikube_py.api.rbac.clusterrolebinding import CLUSTERROLEBINDINGS
from minikube_py.api.rbac.role import ROLES
from minikube_py.api.rbac.rolebinding import ROLEBINDINGS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    ROLEBINDINGS,
    ROLES,
)

__all__ = [
    "CLUSTERROLEBINDINGS",
    "CLUSTERROLES",
    "RESOURCES",
    "ROLEBINDINGS",
    "ROLES",
]
