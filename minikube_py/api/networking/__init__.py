"""The kinds of networking.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.networking.ingress import INGRESSES
from minikube_py.api.networking.ingressclass import INGRESSCLASSES
from minikube_py.api.networking.ipaddress import IPADDRESSES
from minikube_py.api.networking.networkpolicy import NETWORKPOLICIES
from minikube_py.api.networking.servicecidr import SERVICECIDRS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    INGRESSCLASSES,
    INGRESSES,
    IPADDRESSES,
    NETWORKPOLICIES,
    SERVICECIDRS,
)

__all__ = [
    "INGRESSCLASSES",
    "INGRESSES",
    "IPADDRESSES",
    "NETWORKPOLICIES",
    "RESOURCES",
    "SERVICECIDRS",
]
