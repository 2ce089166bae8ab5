"""The kinds of apps, one file each; `RESOURCES` is all of them."""

from minikube_py.api.apps.controllerrevision import CONTROLLERREVISIONS
from minikube_py.api.apps.daemonset import DAEMONSETS
from minikube_py.api.apps.deployment import DEPLOYMENTS
from minikube_py.api.apps.replicaset import REPLICASETS
from minikube_py.api.apps.statefulset import STATEFULSETS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    CONTROLLERREVISIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    REPLICASETS,
    STATEFULSETS,
)

__all__ = [
    "CONTROLLERREVISIONS",
    "DAEMONSETS",
    "DEPLOYMENTS",
    "REPLICASETS",
    "RESOURCES",
    "STATEFULSETS",
]
