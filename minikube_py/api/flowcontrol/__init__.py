"""The kinds of flowcontrol.apiserver.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.flowcontrol.flowschema import FLOWSCHEMAS
from minikube_py.api.flowcontrol.prioritylevelconfiguration import PRIORITYLEVELCONFIGURATIONS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    FLOWSCHEMAS,
    PRIORITYLEVELCONFIGURATIONS,
)

__all__ = [
    "FLOWSCHEMAS",
    "PRIORITYLEVELCONFIGURATIONS",
    "RESOURCES",
]
