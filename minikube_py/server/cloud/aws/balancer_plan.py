"""What a Network Load Balancer for a service consists of; pure.

Every name follows from the service's uid and from what cannot be changed in place, so that what
was made before is found again, also by one who knows nothing of it but the service.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.api.object import Obj, annotations_of, get, key_of
from minikube_py.server.cloud.aws.api import cluster_tag
from minikube_py.server.cloud.provider import CloudError

INTERNAL = "service.beta.kubernetes.io/aws-load-balancer-internal"
SUBNETS = "service.beta.kubernetes.io/aws-load-balancer-subnets"
CROSS_ZONE = "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled"
SERVICE_TAG = "kubernetes.io/service-name"
PUBLIC_ROLE, INTERNAL_ROLE = "kubernetes.io/role/elb", "kubernetes.io/role/internal-elb"
PROXY_PORT = 10256
"""Where kube-proxy tells whether a node serves; for what no connection can be tried on."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a load balancer sees whether a node serves."""

    protocol: str
    port: str
    path: str = ""

    def parameters(self) -> dict[str, Any]:
        """Return it as the API has it."""
        found: dict[str, Any] = {
            "HealthCheckProtocol": self.protocol,
            "HealthCheckPort": self.port,
        }
        return {**found, "HealthCheckPath": self.path} if self.path else found


@dataclass(frozen=True, kw_only=True)
class Target:
    """One port of a service: its target group and its listener."""

    name: str
    protocol: str
    port: int
    node_port: int
    check: Check


def is_internal(service: Obj) -> bool:
    """Return whether only the network of the cluster is to reach it."""
    return annotations_of(service).get(INTERNAL, "false").lower() not in ("", "false", "0")


def crosses_zones(service: Obj) -> bool:
    """Return whether a zone's address may send to nodes of other zones."""
    return annotations_of(service).get(CROSS_ZONE, "false").lower() == "true"


def prefix(service: Obj) -> str:
    """Return how the names of all target groups of a service begin."""
    digest = hashlib.sha256(str(service["metadata"]["uid"]).encode()).hexdigest()
    return f"k8s-{digest[:16]}-"


def targets(service: Obj) -> list[Target]:
    """Return what each port of the service becomes.

    Raises:
        CloudError: Amazon has nothing like it.

    """
    found: dict[int, Target] = {}
    for port in get(service, "spec.ports") or ():
        protocol, number = port.get("protocol") or "TCP", port["port"]
        if protocol not in ("TCP", "UDP"):
            raise CloudError(f"protocol {protocol} of port {number} is not supported by NLB")
        if not port.get("nodePort"):
            raise CloudError(f"port {number} has no node port, which NLB needs")
        if number in found:
            raise CloudError(f"port {number} has two protocols, which is not supported")
        found[number] = _target(service, protocol, number, port["nodePort"])
    return list(found.values())


def _target(service: Obj, protocol: str, port: int, node_port: int) -> Target:
    # What cannot be changed of a group is in its name: another value makes another group.
    what = f"{protocol} {port} {node_port}"
    return Target(
        name=prefix(service) + hashlib.sha256(what.encode()).hexdigest()[:10],
        protocol=protocol,
        port=port,
        node_port=node_port,
        check=_check(service, protocol),
    )


def _check(service: Obj, protocol: str) -> Check:
    spec = service["spec"]
    if spec.get("externalTrafficPolicy") == "Local" and spec.get("healthCheckNodePort"):
        return Check(protocol="HTTP", port=str(spec["healthCheckNodePort"]), path="/healthz")
    if protocol == "UDP":
        return Check(protocol="HTTP", port=str(PROXY_PORT), path="/healthz")
    return Check(protocol="TCP", port="traffic-port")


def tags(cluster: str, service: Obj) -> list[dict[str, str]]:
    """Return the tags of all that is made for a service."""
    found = {cluster_tag(cluster): "owned", SERVICE_TAG: str(key_of(service))}
    return [{"Key": key, "Value": value} for key, value in found.items()]


def choose_subnets(found: Iterable[Mapping[str, Any]], *, internal: bool) -> list[str]:
    """Return one subnet of each zone: those tagged for the purpose first, then by id."""
    role = INTERNAL_ROLE if internal else PUBLIC_ROLE

    def rank(subnet: Mapping[str, Any]) -> tuple[bool, str]:
        keys = {tag["Key"] for tag in subnet.get("Tags") or ()}
        return role not in keys, subnet["SubnetId"]

    chosen: dict[str, str] = {}
    for subnet in sorted(found, key=rank):
        chosen.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
    return sorted(chosen.values())
