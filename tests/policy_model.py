"""Who may reach whom by the words of the NetworkPolicy API, pair by pair, without any plan."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Host:
    """A pod, or with no namespace an address elsewhere."""

    ip: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[tuple[str, str, int], ...] = ()
    """Name, protocol and number."""


@dataclass(frozen=True)
class World:
    """Policies and the labels of namespaces."""

    policies: Sequence[dict[str, Any]]
    namespaces: Mapping[str, Mapping[str, str]]

    def allows(self, source: Host, target: Host, protocol: str, port: int) -> bool:
        """Tell whether traffic passes: the source may send it, and the target be sent it."""
        if source.ip == target.ip:
            return True
        return all(
            self._side(own, other, target, kind, protocol, port)
            for own, other, kind in ((source, target, "Egress"), (target, source, "Ingress"))
        )

    def _side(
        self, own: Host, other: Host, target: Host, kind: str, protocol: str, port: int
    ) -> bool:
        selecting = [
            policy
            for policy in self.policies
            if own.namespace == policy["metadata"]["namespace"]
            and kind in types_of(policy["spec"])
            and selects(policy["spec"]["podSelector"], own.labels)
        ]
        if not selecting:
            return True
        return any(
            self._peers(rule.get("from" if kind == "Ingress" else "to"), other, policy)
            and ports_match(rule.get("ports"), target, protocol, port)
            for policy in selecting
            for rule in policy["spec"].get(kind.lower()) or ()
        )

    def _peers(self, peers: Any, other: Host, policy: Mapping[str, Any]) -> bool:
        return not peers or any(self._peer(peer, other, policy) for peer in peers)

    def _peer(self, peer: Mapping[str, Any], other: Host, policy: Mapping[str, Any]) -> bool:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            return holds(block["cidr"], other.ip) and not any(
                holds(hole, other.ip) for hole in block.get("except") or ()
            )
        if not other.namespace:
            return False
        if "namespaceSelector" in peer:
            if not selects(peer["namespaceSelector"], self.namespaces[other.namespace]):
                return False
        elif other.namespace != policy["metadata"]["namespace"]:
            return False
        return selects(peer.get("podSelector", {}), other.labels)


def types_of(spec: Mapping[str, Any]) -> Sequence[str]:
    if spec.get("policyTypes"):
        return list(spec["policyTypes"])
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def holds(cidr: str, ip: str) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(cidr)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], one.get("values") or ()
        fits = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not fits[one["operator"]]:
            return False
    return True


def ports_match(ports: Any, target: Host, protocol: str, port: int) -> bool:
    if not ports:
        return True
    for one in ports:
        if one.get("protocol", "TCP") != protocol:
            continue
        wanted = one.get("port")
        if isinstance(wanted, str):
            if (wanted, protocol, port) in target.ports:
                return True
        elif wanted is None or wanted <= port <= one.get("endPort", wanted):
            return True
    return False
