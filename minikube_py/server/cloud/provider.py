"""What a cloud provider is: up to three parts, and what they speak of.

Everything that changes a cloud is idempotent and finds again what it made before, by names and
tags that follow from the cluster's name and the object's uid: a controller that ended between any
two calls calls again and nothing is made twice. What goes wrong is a `CloudError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from minikube_py.api.object import Obj
from minikube_py.client.controller import Part, TryAgainError
from minikube_py.lib.tallies import Tallies

DEFAULT_CLUSTER_NAME = "kubernetes"
"""Upstream's `--cluster-name`: marks what belongs to this cluster."""


class CloudError(TryAgainError):
    """The cloud refused, did not answer, or is still at work (`seconds`); it is asked again."""


@dataclass(frozen=True, kw_only=True)
class InstanceMetadata:
    """What a cloud knows of a machine; what is empty it does not know."""

    provider_id: str = ""
    instance_type: str = ""
    addresses: Sequence[Obj] = ()
    """As in a node's status; empty leaves those that the node reports."""
    zone: str = ""
    region: str = ""
    additional_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Route:
    """How packets for a node's pods reach it."""

    name: str = ""
    """The cloud's name for it, "" for one that is yet to be made."""
    destination: str
    """The podCIDR."""
    node: str = ""
    """Name of the node; "" where the cloud cannot tell."""
    provider_id: str = ""
    """Of the machine that it leads to; a cloud tells at least one of the two."""
    blackhole: bool = False
    """Whether its target is gone."""
    node_addresses: Sequence[Obj] = ()
    """The node's, for a cloud that needs them to make a route."""


class Instances(Protocol):
    """The machines behind the nodes."""

    @property
    def polled(self) -> bool:
        """Whether what is known of a machine may change without an event of its node."""

    async def exists(self, node: Obj) -> bool:
        """Return whether the node's machine exists; stopped ones do."""

    async def is_shut_down(self, node: Obj) -> bool:
        """Return whether the node's machine is off."""

    async def metadata(self, node: Obj) -> InstanceMetadata | None:
        """Return what is known of the node's machine; None leaves the node to others.

        Raises:
            CloudError: there is no such machine, or the cloud does not say.

        """


class Routes(Protocol):
    """The routes between the nodes' networks of pods."""

    async def list(self, cluster: str) -> Sequence[Route]:
        """Return all routes of the cluster."""

    async def create(self, cluster: str, hint: str, route: Route) -> None:
        """Make a route; `hint` is unique to the node."""

    async def delete(self, cluster: str, route: Route) -> None:
        """Delete a route; one that is gone is no error."""


class LoadBalancers(Protocol):
    """The load balancers before services."""

    async def get(self, cluster: str, service: Obj) -> Obj | None:
        """Return the status.loadBalancer of a service, or None where nothing is left of it."""

    async def ensure(self, cluster: str, service: Obj, nodes: Sequence[Obj]) -> Obj:
        """Make, or bring up to date, all of a load balancer; return its status.loadBalancer."""

    async def update(self, cluster: str, service: Obj, nodes: Sequence[Obj]) -> None:
        """Have a load balancer that exists send to these nodes."""

    async def delete(self, cluster: str, service: Obj) -> None:
        """Delete whatever there is of a load balancer; nothing is no error."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One cloud; what it does not have is None, and then nobody controls that."""

    name: str
    instances: Instances | None = None
    routes: Routes | None = None
    load_balancers: LoadBalancers | None = None
    controllers: Sequence[Part] = ()
    """Control loops of its own, where the common ones do not do."""


@dataclass(frozen=True, kw_only=True)
class CloudSetting:
    """What a provider is made from, and what controllers are told of the cluster."""

    config_file: Path | None = None
    """The provider's own configuration (`--cloud-config`)."""
    cluster_name: str = DEFAULT_CLUSTER_NAME
    cluster_cidr: str = "10.42.0.0/16"
    """Networks of all pods, with commas between."""
    api_server_port: int = 0
    """A port that nothing else may have on machines of the control plane; 0 where not known."""
    configure_routes: bool = True
    """Whether routes are made where the provider can."""
    tallies: Tallies = field(default_factory=Tallies)
    """Where a provider counts what Prometheus asks for."""


class MakeProvider(Protocol):
    """What an entry point of the group `kpy.cloud` is."""

    def __call__(self, setting: CloudSetting) -> Provider:
        """Return the provider.

        Raises:
            StartError: the configuration cannot be used.

        """


def load_balancer_name(service: Obj) -> str:
    """Return upstream's name for the load balancer of a service: made of its uid, 32 letters."""
    uid: Any = service["metadata"]["uid"]
    return ("a" + str(uid).replace("-", ""))[:32]
