"""Routes to the pods of other nodes: each node's address is the gateway to its podCIDRs.

This needs nodes that reach each other without a router in between (host-gw).
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from minikube_py.api.object import Obj, get

Routes = Mapping[str, str]
"""Network -> gateway."""


class RouteChange(NamedTuple):
    """One thing to do to the routing table; the gateway is "" where a route goes away."""

    cidr: str
    gateway: str


def wanted_routes(nodes: Iterable[Obj], own_name: str) -> dict[str, str]:
    """Return the routes that a node needs; pure."""
    routes = {}
    for node in nodes:
        if node["metadata"]["name"] == own_name:
            continue
        gateways = {ipaddress.ip_address(ip).version: ip for ip in reversed(internal_ips(node))}
        for cidr in pod_cidrs(node):
            gateway = gateways.get(ipaddress.ip_network(cidr).version)
            if gateway is not None:
                routes[cidr] = gateway
    return routes


def plan(wanted: Routes, current: Routes) -> Iterator[RouteChange]:
    """Yield what turns the current routes into the wanted ones, removals first."""
    for cidr in sorted(current.keys() - wanted.keys()):
        yield RouteChange(cidr, "")
    for cidr, gateway in sorted(wanted.items()):
        if current.get(cidr) != gateway:
            yield RouteChange(cidr, gateway)


def internal_ips(node: Obj) -> list[str]:
    """Return the addresses that other nodes reach a node by."""
    addresses = get(node, "status.addresses") or ()
    return [entry["address"] for entry in addresses if entry["type"] == "InternalIP"]


def pod_cidrs(node: Obj) -> list[str]:
    """Return the networks that a node's pods get addresses from; empty until it has some."""
    many = get(node, "spec.podCIDRs") or ()
    one = get(node, "spec.podCIDR")
    return list(many) or ([one] if one else [])
