"""What the elements of services say front by front, for modes that have no maps; pure.

Which endpoints a service's addresses and ports lead to, and what is refused, is decided once, in
`rules.py`. Other modes than nftables carry out the same, so they read it from the same elements,
less those of SCTP, which they do not carry.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from minikube_py.agent.nft_elements import Element
from minikube_py.agent.proxy.chains import Chain, parse_name
from minikube_py.agent.proxy.rules import Front
from minikube_py.api.object import Key

NODE_PORT = "np-"


class Target(NamedTuple):
    """One endpoint."""

    ip: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Served:
    """What becomes of connections to a front."""

    chain: Chain | None = None
    """How endpoints are chosen; None where connections are turned away."""
    verdict: str = ""
    """How they are turned away: `rules.REJECT` or `rules.DROP`."""
    cluster: tuple[Target, ...] = ()
    local: tuple[Target, ...] = ()
    """Endpoints for who is bound to this node's; see `Chain.kind`."""
    guarded: bool = False
    """Whether only `admitted` networks may come."""
    admitted: tuple[str, ...] = ()


@dataclass
class _Draft:
    served: Served = field(default_factory=Served)
    targets: dict[bool, dict[int, Target]] = field(default_factory=lambda: {False: {}, True: {}})
    admitted: set[str] = field(default_factory=set)


def fronts_of(elements: Iterable[Element]) -> dict[Front, Served]:
    """Return the fronts of one service."""
    drafts: dict[Front, _Draft] = {}
    for container, key, value in elements:
        kind = container.removeprefix(NODE_PORT)
        if kind in {"cluster-ips", "hairpin", "slots", "local-slots"}:
            continue
        front, rest = _front(key, node_port=container.startswith(NODE_PORT))
        if front.protocol == "SCTP":
            continue
        draft = drafts.setdefault(front, _Draft())
        if kind == "services":
            draft.served = replace(draft.served, chain=parse_name(value.removeprefix("goto ")))
        elif kind == "no-endpoints":
            draft.served = replace(draft.served, verdict=value)
        elif kind == "guarded":
            draft.served = replace(draft.served, guarded=True)
        elif kind == "admitted":
            draft.admitted.add(rest)
        else:
            ip, port = value.split(" . ")
            draft.targets[kind.startswith("local-")][int(rest, 0)] = Target(ip, int(port))
    return {front: _served(draft) for front, draft in sorted(drafts.items())}


def _front(key: str, *, node_port: bool) -> tuple[Front, str]:
    parts = key.split(" . ")
    address = "" if node_port else parts.pop(0)
    return Front(address, parts[0].upper(), int(parts[1])), " . ".join(parts[2:])


def _served(draft: _Draft) -> Served:
    cluster, local = (
        tuple(target for _, target in sorted(draft.targets[is_local].items()))
        for is_local in (False, True)
    )
    return replace(
        draft.served, cluster=cluster, local=local, admitted=tuple(sorted(draft.admitted))
    )


class Fronts:
    """The fronts of all services; where two claim the same, the first by name has it."""

    def __init__(self) -> None:
        self._services: dict[Key, Mapping[Front, Served]] = {}
        self._claims: dict[Front, dict[Key, Served]] = {}

    def update(self, key: Key, elements: Iterable[Element]) -> None:
        """Put a service's elements in place of those it had; none removes it."""
        old, new = self._services.pop(key, {}), fronts_of(elements)
        for front in old.keys() - new.keys():
            claims = self._claims[front]
            del claims[key]
            if not claims:
                del self._claims[front]
        for front, served in new.items():
            self._claims.setdefault(front, {})[key] = served
        if new:
            self._services[key] = new

    def current(self) -> dict[Front, Served]:
        """Return what holds, in a fixed order."""
        return {front: claims[min(claims)] for front, claims in sorted(self._claims.items())}
