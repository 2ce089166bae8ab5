"""Endpoints of a backend, in turn: requests go to pods directly, not through a service address."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from minikube_py.agent.ingress.routes import Backend
from minikube_py.agent.proxy.endpoints import Node, choose
from minikube_py.api.object import Key, Obj, get

TRIES_MAX = 3
"""Endpoints that are tried for a request that none has begun to answer."""


class Address(NamedTuple):
    """Where one endpoint answers."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


class Backends:
    """Finds the endpoints of backends in the caches."""

    def __init__(
        self,
        service: Callable[[Key], Obj | None],
        slices: Callable[[Key], Sequence[Obj]],
        node: Node,
    ) -> None:
        self._service = service
        self._slices = slices
        self._node = node
        self._turns = itertools.count()

    def addresses(self, backend: Backend) -> Iterator[Address]:
        """Yield endpoints to try, each request beginning with another; none where none is ready."""
        key = Key(backend.namespace, backend.service)
        found = endpoints_of(self._service(key), self._slices(key), backend.port, self._node)
        turn = next(self._turns)
        for number in range(min(len(found), TRIES_MAX)):
            yield found[(turn + number) % len(found)]


def endpoints_of(
    service: Obj | None, slices: Sequence[Obj], port: str | int, node: Node
) -> list[Address]:
    """Return the endpoints of a service's port, by its name or number; pure.

    An ExternalName has none: whoever writes services could ask anything that this node reaches.
    """
    if get(service, "spec.type") == "ExternalName":
        return []
    for one in get(service, "spec.ports") or ():
        if port not in (one.get("name"), one.get("port")) or not port:
            continue
        protocol = one.get("protocol") or "TCP"
        known = [piece for piece in slices if piece.get("addressType") != "FQDN"]
        chosen = choose(known, one.get("name") or "", protocol, node)
        return [Address(endpoint.ip, endpoint.port) for endpoint in chosen.cluster]
    return []
