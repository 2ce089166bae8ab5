"""Gives services of type LoadBalancer what they ask for, from the cloud's load balancers.

A finalizer stands before anything is made in the cloud, and goes when nothing of it is left. What
was last made for a service is remembered; a change of what a load balancer depends on makes it
anew, a change of the set of nodes only its targets. A controller that starts makes all of them
once more, which changes nothing where all is well. Upstream: service-controller.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from minikube_py.api.core import NODES, SERVICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, get, is_deleting, key_of, uid_of
from minikube_py.client.actions import Action, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.lib.backoff import Backoff
from minikube_py.server.cloud.nodes import may_be_balanced
from minikube_py.server.cloud.provider import CloudError, LoadBalancers

NAME = "service-controller"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
RETRY = Backoff(first_seconds=5.0, max_seconds=300.0)
"""Clouds are slow and count calls; upstream waits as long."""
SPEC = (
    "ports",
    "loadBalancerSourceRanges",
    "sessionAffinity",
    "sessionAffinityConfig",
    "loadBalancerIP",
    "externalIPs",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "ipFamilies",
    "ipFamilyPolicy",
)
"""What of a service's spec a load balancer depends on, beside all annotations."""
NO_NODES = "There are no available nodes for LoadBalancer"


class Step(Enum):
    """What one look at a service comes to."""

    NOTHING = "nothing"
    ENSURE = "ensure"
    UPDATE = "update"
    CLEAN_UP = "clean up"


@dataclass
class Made:
    """What was last made for a service."""

    service: Obj
    nodes: frozenset[tuple[str, str]] = frozenset()
    """Names and providerIDs."""
    done: bool = False
    """Whether it was made to the end."""
    failures: int = 0
    retry_at: float = 0.0
    """Before this the same is not tried again."""


async def reconcile(balancers: LoadBalancers, cluster: str, key: Key, ctx: Context) -> float | None:
    """See to one service."""
    service, made = ctx.lister(SERVICES).get(key), ctx.memory.get(key)
    work = Work(balancers, cluster, ctx, [i.obj for i in ctx.lister(NODES).items()])
    if made is not None and (service is None or uid_of(service) != uid_of(made.service)):
        await work.forget(made)  # its finalizer was taken by force
        made = None
    if service is None:
        return None
    step = plan(service, made, identities(work.nodes))
    if step is Step.NOTHING:
        return None
    now = ctx.clock.monotonic()
    if made is not None and now < made.retry_at and is_same(service, made.service):
        return float(made.retry_at - now)
    made = ctx.memory[key] = Made(service, failures=made.failures if made else 0)
    try:
        await work.carry_out(step, made)
    except CloudError as error:
        made.failures += 1
        wait = error.seconds or RETRY.wait_seconds(made.failures)
        made.retry_at = ctx.clock.monotonic() + wait
        return wait
    return None


def wants(service: Obj) -> bool:
    """Return whether the cloud is to give a load balancer; one with a class is another's."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") is None


def needs_clean_up(service: Obj) -> bool:
    """Return whether something may be left in the cloud that must go."""
    if FINALIZER not in (service["metadata"].get("finalizers") or ()):
        return False
    return is_deleting(service) or service["spec"].get("type") != "LoadBalancer"


def plan(service: Obj, made: Made | None, nodes: frozenset[tuple[str, str]]) -> Step:
    """Decide what to do for a service."""
    if needs_clean_up(service):
        return Step.CLEAN_UP
    if not wants(service) or is_deleting(service):
        return Step.NOTHING
    if made is None or not made.done or fingerprint(service) != fingerprint(made.service):
        return Step.ENSURE
    return Step.NOTHING if nodes == made.nodes else Step.UPDATE


def is_same(service: Obj, before: Obj) -> bool:
    """Return whether a service asks for what it asked for before."""
    return fingerprint(service) == fingerprint(before) and (
        needs_clean_up(service) == needs_clean_up(before)
    )


def fingerprint(service: Obj) -> tuple[Any, ...]:
    """Return what a load balancer depends on."""
    spec = service["spec"]
    return (annotations_of(service), wants(service), *(spec.get(name) for name in SPEC))


def identities(nodes: Iterable[Obj]) -> frozenset[tuple[str, str]]:
    """Return what tells one set of nodes from another."""
    return frozenset((node["metadata"]["name"], get(node, "spec.providerID", "")) for node in nodes)


class Work:
    """One look's dealings with the cloud."""

    def __init__(
        self, balancers: LoadBalancers, cluster: str, ctx: Context, nodes: Iterable[Obj]
    ) -> None:
        self._balancers = balancers
        self._cluster = cluster
        self._ctx = ctx
        self.nodes = sorted(filter(may_be_balanced, nodes), key=key_of)

    async def carry_out(self, step: Step, made: Made) -> None:
        """Do it, and tell in events what is done and what went wrong."""
        service = made.service
        if step is Step.UPDATE:
            await self._update(made)
            return
        try:
            if step is Step.CLEAN_UP:
                await self._clean_up(service)
            else:
                await self._ensure(made)
        except CloudError as error:
            self._tell(service, "SyncLoadBalancerFailed", f"Error syncing load balancer: {error}")
            raise

    def _tell(self, service: Obj, reason: str, message: str) -> None:
        is_bad = reason.endswith("Failed") or reason.startswith("Un")
        self._ctx.events.record(service, "Warning" if is_bad else "Normal", reason, message)

    async def _ensure(self, made: Made) -> None:
        service = made.service
        self._tell(service, "EnsuringLoadBalancer", "Ensuring load balancer")
        await self._ctx.apply(plan_finalizer(service, there=True))
        if not self.nodes:
            self._tell(service, "UnAvailableLoadBalancer", NO_NODES)
        try:
            status = await self._balancers.ensure(self._cluster, service, self.nodes)
        except CloudError as error:
            raise CloudError(f"failed to ensure load balancer: {error}", error.seconds) from error
        self._tell(service, "EnsuredLoadBalancer", "Ensured load balancer")
        await self._ctx.apply(plan_status(service, status))
        made.nodes, made.done, made.failures = identities(self.nodes), True, 0

    async def _update(self, made: Made) -> None:
        service = made.service
        try:
            await self._balancers.update(self._cluster, service, self.nodes)
        except CloudError as error:
            names = ",".join(node["metadata"]["name"] for node in self.nodes)
            message = f"Error updating load balancer with new hosts [{names}]: {error}"
            self._tell(service, "UpdateLoadBalancerFailed", message)
            raise
        if self.nodes:
            self._tell(service, "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        else:
            self._tell(service, "UnAvailableLoadBalancer", NO_NODES)
        made.nodes, made.done, made.failures = identities(self.nodes), True, 0

    async def _clean_up(self, service: Obj) -> None:
        try:
            exists = await self._balancers.get(self._cluster, service) is not None
        except CloudError as error:
            raise CloudError(
                f"failed to check if load balancer exists before cleanup: {error}"
            ) from error
        if exists:
            await self._delete(service)
        await self._ctx.apply(plan_finalizer(service, there=False))
        await self._ctx.apply(plan_status(service, {}))
        self._tell(service, "DeletedLoadBalancer", "Deleted load balancer")
        self._ctx.memory.pop(key_of(service), None)

    async def _delete(self, service: Obj) -> None:
        self._tell(service, "DeletingLoadBalancer", "Deleting load balancer")
        try:
            await self._balancers.delete(self._cluster, service)
        except CloudError as error:
            raise CloudError(f"failed to delete load balancer: {error}", error.seconds) from error

    async def forget(self, made: Made) -> None:
        """Delete what was made for a service that is gone."""
        try:
            await self._delete(made.service)
        except CloudError as error:
            message = f"Error deleting load balancer: {error}"
            self._tell(made.service, "DeleteLoadBalancerFailed", message)
            raise
        self._ctx.memory.pop(key_of(made.service), None)


def plan_finalizer(service: Obj, *, there: bool) -> Iterator[Action]:
    """Have the finalizer, or have it no longer."""
    found: Sequence[str] = service["metadata"].get("finalizers") or ()
    if (FINALIZER in found) == there:
        return
    kept = [one for one in found if one != FINALIZER]
    metadata = {
        "finalizers": [*found, FINALIZER] if there else kept,
        "resourceVersion": service["metadata"]["resourceVersion"],  # or another's would be lost
    }
    yield Patch(SERVICES, key_of(service), {"metadata": metadata})


def plan_status(service: Obj, balancer: Mapping[str, Any]) -> Iterator[Action]:
    """Tell where the service is reached; a service that is gone need not be told."""
    old = get(service, "status.loadBalancer") or {}
    if _shown(old) != _shown(balancer):
        ingress = balancer.get("ingress") or None
        patch = {
            "metadata": {"uid": uid_of(service)},
            "status": {"loadBalancer": {"ingress": ingress}},
        }
        yield Patch(SERVICES, key_of(service), patch, subresource="status", missing_ok=True)


def _shown(balancer: Mapping[str, Any]) -> list[Any]:
    """Return the ingresses without what the server adds: an address is of mode VIP by default."""
    return [
        {k: v for k, v in one.items() if (k, v) != ("ipMode", "VIP")}
        for one in balancer.get("ingress") or ()
    ]


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Look at all services that were made where nodes came or went that may be balanced to."""
    before, after = (item is not None and may_be_balanced(item.obj) for item in (old, new))
    is_same = before == after and (old is None or new is None or _id(old) == _id(new))
    if is_same or not (before or after):
        return ()
    return tuple(ctx.memory)


def _id(item: Item) -> object:
    return get(item.obj, "spec.providerID")


def controller(balancers: LoadBalancers, cluster: str, user: str) -> Controller:
    """Return the controller for a cloud."""
    return Controller(
        name=NAME,
        user=user,
        watches=SERVICES,
        also=(Also(NODES, of_node),),
        reconcile=functools.partial(reconcile, balancers, cluster),
        workers=1,
    )
