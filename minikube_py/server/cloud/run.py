"""Runs the controllers of a cloud: those that its provider has the parts for."""

from collections.abc import Callable, Iterator

from minikube_py.api.object import Key
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Part, Settings
from minikube_py.client.events import Recorder
from minikube_py.client.leader_election import Contender, LeaderElector, new_identity
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.cloud import cloud_node, cloud_node_lifecycle, route, service
from minikube_py.server.cloud.provider import CloudSetting, Provider
from minikube_py.server.controllers.run import run_controllers

USER = "system:cloud-controller-manager"
"""Whom all of them act as; its ClusterRole has the rights that upstream's need."""
LEASE = Key("kube-system", "cloud-controller-manager")


def parts(provider: Provider, setting: CloudSetting, user: str = USER) -> Iterator[Part]:
    """Yield the controllers that a provider has the parts for."""
    if provider.instances is not None:
        yield cloud_node.controller(provider.instances, user)
        yield cloud_node_lifecycle.controller(provider.instances, user)
    if provider.load_balancers is not None:
        yield service.controller(provider.load_balancers, setting.cluster_name, user)
    if provider.routes is not None and setting.configure_routes:
        yield route.controller(provider.routes, setting, user)
    yield from provider.controllers


class CloudControllerManager:
    """The controllers of one provider, with one of several such processes at work."""

    def __init__(
        self, provider: Provider, setting: CloudSetting, client_for: Callable[[str], Client]
    ) -> None:
        self._parts = tuple(parts(provider, setting))
        self._client_for = client_for

    async def run(self, scheme: Scheme, clock: Clock, settings: Settings) -> None:
        """Run the controllers until cancelled; nobody else may be running them."""
        await run_controllers(
            self._client_for, scheme, clock, settings, self._parts, reader=USER
        )

    def elector(self, clock: Clock) -> tuple[LeaderElector, Recorder]:
        """Return a contender for the lease, and its events, which somebody has to run."""
        client = self._client_for(USER)
        events = Recorder(client, LEASE.name, clock)
        contender = Contender(lease=LEASE, identity=new_identity(), client=client, events=events)
        return LeaderElector(contender, clock), events

    async def run_elected(
        self, elector: LeaderElector, events: Recorder, work: Callable[[], object]
    ) -> None:
        """Run `work` while this process leads; until cancelled."""
