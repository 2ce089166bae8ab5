"""What the security groups of nodes must let in for a load balancer; pure.

A Network Load Balancer keeps its clients' addresses, so the nodes see them: source ranges are
rules of the nodes' security groups. A rule is found again by its description, which names the
load balancer, as upstream has it. A port that the health checks of several services share has one
rule, which stands as long as any service needs it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api.object import Obj, get
from minikube_py.server.cloud.aws.balancer_plan import PROXY_PORT, targets
from minikube_py.server.cloud.provider import CloudError, load_balancer_name

CLIENT_RULE, HEALTH_RULE = "kubernetes.io/rule/nlb/client", "kubernetes.io/rule/nlb/health"
ANYBODY = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}


@dataclass(frozen=True, order=True)
class Rule:
    """What a node lets in: a port, from a network."""

    protocol: str
    port: int
    source: str
    description: str

    def permission(self) -> dict[str, Any]:
        """Return it as the API has it."""
        key, kind = ("CidrIpv6", "Ipv6Ranges") if ":" in self.source else ("CidrIp", "IpRanges")
        return {
            "IpProtocol": self.protocol,
            "FromPort": self.port,
            "ToPort": self.port,
            kind: [{key: self.source, "Description": self.description}],
        }


def rules(service: Obj, networks: Sequence[str]) -> set[Rule]:
    """Return what nodes must let in: clients, and health checks from `networks`."""
    name = load_balancer_name(service)
    families = get(service, "spec.ipFamilies") or ("IPv4",)
    given = [text.strip() for text in get(service, "spec.loadBalancerSourceRanges") or ()]
    sources = given or [ANYBODY[family] for family in families]
    found = set()
    for target in targets(service):
        protocol, check = target.protocol.lower(), target.check.port
        for source in sources:
            found.add(Rule(protocol, target.node_port, source, f"{CLIENT_RULE}={name}"))
        if check == str(PROXY_PORT):
            continue
        port = target.node_port if check == "traffic-port" else int(check)
        for network in networks:
            if (port, protocol) != (target.node_port, "tcp") or network not in sources:
                found.add(Rule("tcp", port, network, f"{HEALTH_RULE}={name}"))
    return found


def known_rules(group: Mapping[str, Any]) -> set[Rule]:
    """Return the rules of a security group that are for load balancers."""
    return {
        Rule(each["IpProtocol"], each["FromPort"], found[key], found["Description"])
        for each in group.get("IpPermissions") or ()
        for kind, key in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"))
        for found in each.get(kind) or ()
        if str(found.get("Description")).startswith((CLIENT_RULE, HEALTH_RULE))
    }


def rules_of(group: Mapping[str, Any], service: Obj) -> set[Rule]:
    """Return the rules of a security group that are this service's."""
    name = load_balancer_name(service)
    ours = (f"{CLIENT_RULE}={name}", f"{HEALTH_RULE}={name}")
    return {rule for rule in known_rules(group) if rule.description in ours}


@dataclass(frozen=True)
class Change:
    """What is to be done to a security group."""

    add: frozenset[Rule]
    drop: frozenset[Rule]


def plan(
    cluster: str,
    group: Mapping[str, Any],
    service: Obj,
    needed: Iterable[Rule],
    networks: Sequence[str] | None,
) -> Change:
    """Decide what to do to a group; `networks` is None where they do not matter any more."""
    known, ours, wanted = known_rules(group), rules_of(group, service), set(needed)
    after = (known - ours) | wanted
    shared = f"{HEALTH_RULE}={cluster}"
    there = {rule for rule in known if rule.description == shared}
    is_needed = any(r.protocol == "udp" and r.description.startswith(CLIENT_RULE) for r in after)
    checks = there if is_needed else set()
    if is_needed and networks is not None:
        checks = {Rule("tcp", PROXY_PORT, network, shared) for network in networks}
    return Change(
        add=frozenset((wanted - ours) | (checks - there)),
        drop=frozenset((ours - wanted) | (there - checks)),
    )


def node_group(groups: Sequence[Mapping[str, Any]], tagged: Iterable[str]) -> str:
    """Return the security group of an instance that rules go into; "" where there is none.

    With several it is the one that is tagged for the cluster.

    Raises:
        CloudError: more than one is tagged, or none of several.

    """
    ids = [group["GroupId"] for group in groups]
    if len(ids) <= 1:
        return next(iter(ids), "")
    ours = sorted(set(ids) & set(tagged))
    if len(ours) == 1:
        return str(ours[0])
    what = "multiple tagged" if ours else "no tagged"
    raise CloudError(f"{what} security groups found for instance: {', '.join(ours or ids)}")
