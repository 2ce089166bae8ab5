"""Runs the controllers of a cloud: those that its provider has the parts for."""

from collections.abc import Callable, Iterator

from minikube_py.api.object import Key
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Part, Settings
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.server.cloud import cloud_node, cloud_node_lifecycle, route, service
from minikube_py.server.cloud.provider import CloudSetting, Provider
from minikube_py.server.controllers.run import run_controllers

USER = "system:cloud-controller-manager"
"""Whom all of them act as; its ClusterRole has the rights that upstream's controllers need."""
LEASE = Key("kube-system", "cloud-controller-manager")
"""What several processes contend for; only one runs the controllers."""


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


async def run_cloud_controllers(
    provider: Provider,
    setting: CloudSetting,
    client_for: Callable[[str], Client],
    scheme: Scheme,
    clock: Clock,
    settings: Settings,
) -> None:
    """Run the controllers until cancelled; nobody else may be running them (`LEASE`)."""
    controllers = tuple(parts(provider, setting))
    await run_controllers(client_for, scheme, clock, settings, controllers, reader=USER)
