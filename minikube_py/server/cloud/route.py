"""Gives every node's network of pods a route in the cloud, and takes away routes to nobody.

One look compares all nodes with all routes: after a change of a node, and every ten seconds in
case others change the cloud. Then each node's condition NetworkUnavailable says how it went; while
that is True, nothing is scheduled there. Upstream: route controller.
"""

import functools
import ipaddress
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from minikube_py.api import times
from minikube_py.api.core import NODES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, condition_of, evolve, get, is_deleting, uid_of
from minikube_py.client.actions import Action, Emit, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.lib.tasks import together
from minikube_py.server.cloud.provider import CloudError, CloudSetting, Route, Routes

log = logging.getLogger(__name__)
T = TypeVar("T")
NAME = "route_controller"
ALL = Key("", "routes")
PERIOD_SECONDS = 10.0
"""Upstream's `--route-reconciliation-period`."""
AT_ONCE_MAX = 200
"""Calls to the cloud at the same time; upstream's limit."""
CONDITION = "NetworkUnavailable"


@dataclass(frozen=True)
class Work:
    """What is to be done to the routes."""

    delete: Sequence[Route]
    create: Sequence[tuple[str, Route]]
    """With the hint for the cloud's name: the node's uid."""


async def reconcile(routes: Routes, setting: CloudSetting, _: Key, ctx: Context) -> float:
    """See to all nodes."""
    nodes = [item.obj for item in ctx.lister(NODES).items()]
    known = await routes.list(setting.cluster_name)
    work = plan(nodes, known, setting.cluster_cidr)
    cluster = setting.cluster_name
    for batch in _batches(work.delete):
        for outcome in await together(routes.delete(cluster, route) for route in batch):
            _note(outcome)
    failed: dict[tuple[str, str], Exception] = {}
    for creations in _batches(work.create):
        outcomes = await together(routes.create(cluster, *one) for one in creations)
        for (_hint, route), outcome in zip(creations, outcomes, strict=True):
            _note(outcome)
            if outcome is not None:
                failed[route.node, route.destination] = outcome
    now = times.now_string(ctx.clock)
    await ctx.apply(action for node in nodes for action in plan_node(node, failed, now))
    return PERIOD_SECONDS


def _batches(work: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(work), AT_ONCE_MAX):
        yield work[start : start + AT_ONCE_MAX]


def _note(outcome: Exception | None) -> None:
    """Log that the cloud failed; all else is a bug and ends the look."""
    if outcome is None:
        return
    if not isinstance(outcome, CloudError):
        raise outcome
    log.warning("route not changed error=%s", outcome)


def plan(nodes: Iterable[Obj], routes: Iterable[Route], cluster_cidr: str) -> Work:
    """Compare the routes that there should be with those that there are."""
    wanted = {
        (node["metadata"]["name"], cidr): node
        for node in nodes
        if not is_deleting(node)
        for cidr in get(node, "spec.podCIDRs") or ()
    }
    known = list(routes)
    names = {(get(n, "spec.providerID"), cidr): (name, cidr) for (name, cidr), n in wanted.items()}

    def key_of_route(route: Route) -> tuple[str, str]:
        by_name = route.node, route.destination
        return names.get((route.provider_id, route.destination), by_name)

    delete = [
        route
        for route in known
        if is_ours(route, cluster_cidr) and (route.blackhole or key_of_route(route) not in wanted)
    ]
    there = {key_of_route(route) for route in known if not route.blackhole}
    create = [
        (uid_of(node), _route(node, cidr))
        for (name, cidr), node in wanted.items()
        if (name, cidr) not in there
    ]
    return Work(delete, create)


def _route(node: Obj, cidr: str) -> Route:
    addresses: Sequence[Obj] = get(node, "status.addresses") or ()
    return Route(
        destination=cidr,
        node=node["metadata"]["name"],
        provider_id=get(node, "spec.providerID", ""),
        node_addresses=tuple(addresses),
    )


def is_ours(route: Route, cluster_cidr: str) -> bool:
    """Return whether a route leads into the cluster's network of pods; others are not touched."""
    try:
        network = ipaddress.ip_network(route.destination, strict=False)
    except ValueError:
        return False
    clusters = (ipaddress.ip_network(text.strip()) for text in cluster_cidr.split(","))
    return any(
        network[0] in cluster or network[-1] in cluster
        for cluster in clusters
        if cluster.version == network.version
    )


def plan_node(node: Obj, failed: dict[tuple[str, str], Exception], now: str) -> Iterator[Action]:
    """Tell a node's condition, and why a route was not made."""
    name, cidrs = node["metadata"]["name"], get(node, "spec.podCIDRs") or ()
    if not cidrs or is_deleting(node):
        return
    errors = [(cidr, failed[name, cidr]) for cidr in cidrs if (name, cidr) in failed]
    for cidr, error in errors:
        message = f"Could not create route {uid_of(node)} {cidr} for node {name}: {error}"
        yield Emit(node, "Warning", "FailedToCreateRoute", message)
    status = "True" if errors else "False"
    if get(condition_of(node, CONDITION), "status") == status:
        return
    condition = {
        "type": CONDITION,
        "status": status,
        "reason": "NoRouteCreated" if errors else "RouteCreated",
        "message": f"RouteController {'failed to create' if errors else 'created'} a route",
        "lastTransitionTime": now,
        "lastHeartbeatTime": now,
    }
    others = [one for one in get(node, "status.conditions") or () if one["type"] != CONDITION]
    yield update_status(NODES, evolve(node, "status.conditions", [*others, condition]))


def of_node(old: Item | None, new: Item | None, _: Context) -> Iterable[Key]:
    """Look when what routes depend on has changed."""
    if old is None or new is None or _parts(old.obj) != _parts(new.obj):
        yield ALL


def _parts(node: Obj) -> tuple[object, ...]:
    return (
        is_deleting(node),
        tuple(get(node, "spec.podCIDRs") or ()),
        get(node, "spec.providerID"),
        get(node, "status.addresses"),
    )


def controller(routes: Routes, setting: CloudSetting, user: str) -> Controller:
    """Return the controller for a cloud."""
    return Controller(
        name=NAME,
        user=user,
        also=(Also(NODES, of_node),),
        reconcile=functools.partial(reconcile, routes, setting),
        workers=1,
    )
