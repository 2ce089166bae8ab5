"""Which endpoints a service port may use on this node; pure.

The rules are those of kube-proxy's categorisation: ready endpoints, or where there are none those
that terminate and still serve; all of the cluster or only this node's; near ones where hints say.
"""

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikube_py.api.object import Obj


@dataclass(frozen=True, kw_only=True)
class Node:
    """What the choice depends on."""

    name: str
    zone: str = ""


class Endpoint(NamedTuple):
    """One address and port behind a service port."""

    ip: str
    port: int
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    local: bool = False
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()


class Chosen(NamedTuple):
    """The endpoints of a service port for the two kinds of traffic policy, in a fixed order."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]


def choose(slices: Iterable[Obj], name: str, protocol: str, node: Node) -> Chosen:
    """Return the endpoints of the port with that name and protocol."""
    known = sorted(_endpoints(slices, name, protocol, node.name))
    # While an endpoint moves between slices it stands in both; ready wins, as it sorts last.
    endpoints = list({endpoint[:2]: endpoint for endpoint in known}.values())
    own = [endpoint for endpoint in endpoints if endpoint.local]
    return Chosen(tuple(_near(_usable(endpoints), node)), tuple(_usable(own)))


def _endpoints(
    slices: Iterable[Obj], name: str, protocol: str, node_name: str
) -> Iterable[Endpoint]:
    for piece in slices:
        for port in piece.get("ports") or ():
            number = port.get("port")
            if number is None or (port.get("name") or "") != name:
                continue
            if (port.get("protocol") or "TCP") != protocol:
                continue
            family = FAMILIES.get(piece.get("addressType", ""))
            for endpoint in piece.get("endpoints") or ():
                if family is None or is_address(endpoint.get("addresses"), family):
                    yield _endpoint(endpoint, number, node_name)


FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}


def is_address(addresses: Sequence[str] | None, family: socket.AddressFamily) -> bool:
    """Tell whether an endpoint has an address that the kernel would take.

    One that is none must not keep all others from being loaded.
    """
    try:
        socket.inet_pton(family, addresses[0] if addresses else "")
    except (OSError, TypeError, ValueError):
        return False
    return True


READY = {"ready": True, "serving": True, "terminating": False}
"""What most endpoints are, as the controller writes it."""


def _endpoint(endpoint: Obj, port: int, node_name: str) -> Endpoint:
    # This runs for every endpoint of the cluster. Clients use the first address only
    # (EndpointSlice documentation, `addresses`).
    ip, local = endpoint["addresses"][0], endpoint.get("nodeName") == node_name
    conditions, hints = endpoint.get("conditions"), endpoint.get("hints")
    if not hints and (not conditions or conditions == READY):
        return Endpoint(ip, port, True, True, False, local)  # noqa: FBT003 -- by name is slow
    conditions, hints = conditions or {}, hints or {}
    ready = conditions.get("ready")
    ready = ready is None or bool(ready)
    serving = conditions.get("serving")
    return Endpoint(
        ip=ip,
        port=port,
        ready=ready,
        serving=ready if serving is None else bool(serving),
        terminating=bool(conditions.get("terminating")),
        local=local,
        for_zones=tuple(hint["name"] for hint in hints.get("forZones") or ()),
        for_nodes=tuple(hint["name"] for hint in hints.get("forNodes") or ()),
    )


def _usable(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    return ready or [e for e in endpoints if e.serving and e.terminating]


def _near(endpoints: list[Endpoint], node: Node) -> list[Endpoint]:
    """Keep the endpoints that hints give to this node or zone, where all have such hints."""
    if not endpoints or not (endpoints[0].for_nodes or endpoints[0].for_zones):
        return endpoints
    hints: tuple[tuple[Callable[[Endpoint], tuple[str, ...]], str], ...] = (
        (lambda endpoint: endpoint.for_nodes, node.name),
        (lambda endpoint: endpoint.for_zones, node.zone),
    )
    for hinted, place in hints:
        if place and all(map(hinted, endpoints)):
            near = [endpoint for endpoint in endpoints if place in hinted(endpoint)]
            if near:
                return near
    return endpoints
