"""How a load balancer's address is given to a node: what the controller writes and nodes read."""

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.api.object import Obj, annotations_of, get

ANNOUNCED_BY = "kpy.dev/announced-by"
"""Annotation of a service: the node that answers for the addresses in its status."""


def addresses_of_node(services: Iterable[Obj], node_name: str) -> set[str]:
    """Return the addresses that a node is to answer for."""
    return {
        ingress["ip"]
        for service in services
        if annotations_of(service).get(ANNOUNCED_BY) == node_name
        and get(service, "spec.type") == "LoadBalancer"
        for ingress in _ingresses(service)
        if ingress.get("ip")
    }


def _ingresses(service: Obj) -> Iterable[Mapping[str, Any]]:
    found: Iterable[Mapping[str, Any]] = get(service, "status.loadBalancer.ingress") or ()
    return found
