"""Brings traffic to the ingress of the nodes, and tells ingresses where they are reached.

While there is an ingress of class `kpy`, the Service `kube-system/kpy-ingress` of type LoadBalancer
has the nodes as its endpoints. So whoever gives services load balancers in this cluster (the
nodes' own ports, a pool of addresses, a cloud) does the same for ingresses, and ports that are
taken, source ranges and health checks are settled in one place. Endpoints are local to their node:
addresses of clients stay what they are.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api.core import NODES, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.networking import INGRESSCLASSES, INGRESSES
from minikube_py.api.networking.ingress_ours import HTTP_PORT, HTTPS_PORT, SERVICE, is_ours
from minikube_py.api.object import Key, Obj, get, has_condition, is_deleting, key_of, uid_of
from minikube_py.client.actions import Action, Create, Delete, Emit, Patch
from minikube_py.client.controller import Also, Context, Controller

ALL = Key("", "ingresses")
PORTS = (("http", 80, HTTP_PORT), ("https", 443, HTTPS_PORT))
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
NAME = "ingress-controller"
FAMILIES = ("IPv4", "IPv6")


@dataclass(frozen=True, kw_only=True)
class View:
    """What a look has found."""

    ours: Sequence[Obj]
    """Ingresses that kpy serves."""
    nodes: Sequence[Obj]
    service: Obj | None
    slices: Sequence[Obj]
    """Those of our service that are ours."""


def plan(view: View) -> Iterator[Action]:
    """Have the Service and its endpoints while they are needed, and the statuses that follow."""
    if not view.ours:
        made = [*((ENDPOINTSLICES, one) for one in view.slices), (SERVICES, view.service)]
        for resource, found in made:
            if found is not None and not is_deleting(found):
                yield Delete(resource, key_of(found), uid_of(found))
        return
    if view.service is None:
        yield Create(SERVICES, wanted_service())
    yield from _plan_slices(view)
    status = get(view.service, "status.loadBalancer.ingress") or ()
    reached = [{key: one[key] for key in ("ip", "hostname") if key in one} for one in status]
    for ingress in view.ours:
        shown = get(ingress, "status.loadBalancer.ingress") or []
        if list(shown) != reached:
            patch = {"status": {"loadBalancer": {"ingress": reached or None}}}
            yield Patch(INGRESSES, key_of(ingress), patch, subresource="status", missing_ok=True)


def _plan_slices(view: View) -> Iterator[Action]:
    known = {one["metadata"]["name"]: one for one in view.slices}
    for family in FAMILIES:
        wanted = wanted_slice(view.nodes, family)
        found = known.get(wanted["metadata"]["name"])
        if found is None:
            if wanted["endpoints"]:
                yield Create(ENDPOINTSLICES, wanted)
        elif list(found.get("endpoints") or ()) != wanted["endpoints"]:
            yield Patch(
                ENDPOINTSLICES, key_of(found), {"endpoints": wanted["endpoints"]}, missing_ok=True
            )


def wanted_service() -> dict[str, Any]:
    """Return the Service; what others change of it later is theirs."""
    ports = [
        {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}
        for name, port, target in PORTS
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": SERVICE.namespace,
            "name": SERVICE.name,
            "labels": {"app.kubernetes.io/name": SERVICE.name},
        },
        "spec": {
            "type": "LoadBalancer",
            "ports": ports,
            "externalTrafficPolicy": "Local",
            "ipFamilyPolicy": "PreferDualStack",
        },
    }


def wanted_slice(nodes: Iterable[Obj], family: str) -> dict[str, Any]:
    """Return the endpoints of one address family: the nodes by name."""
    endpoints = []
    for node in sorted(nodes, key=lambda node: str(node["metadata"]["name"])):
        address = address_of(node, family)
        if address and not is_deleting(node):
            ready = has_condition(node, "Ready")
            conditions = {"ready": ready, "serving": ready, "terminating": False}
            name = node["metadata"]["name"]
            endpoints.append({"addresses": [address], "conditions": conditions, "nodeName": name})
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": SERVICE.namespace,
            "name": f"{SERVICE.name}-{family.lower()}",
            "labels": {"kubernetes.io/service-name": SERVICE.name, MANAGED_BY: NAME},
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": name, "port": target, "protocol": "TCP"} for name, _, target in PORTS],
    }


def address_of(node: Obj, family: str) -> str:
    """Return the node's own address of a family, "" without one."""
    for one in get(node, "status.addresses") or ():
        if one.get("type") == "InternalIP" and (":" in one["address"]) == (family == "IPv6"):
            return str(one["address"])
    return ""


def complaints(ingress: Obj, service: Callable[[Key], Obj | None]) -> Iterator[Emit]:
    """Tell which backends of an ingress are not served, and why; requests to them get a 503."""
    namespace = ingress["metadata"].get("namespace", "")
    told = set()
    for backend in _backends(ingress):
        name = get(backend, "service.name", "")
        if not name:
            told.add("backends that are no services are not served")
        elif get(service(Key(namespace, name)), "spec.type") == "ExternalName":
            # It would let whoever writes services ask anything that nodes reach.
            told.add(f"service {name} is of type ExternalName, which is not served")
    for text in sorted(told):
        yield Emit(ingress, "Warning", "BackendNotServed", text)


def _backends(ingress: Obj) -> Iterator[Obj]:
    default = get(ingress, "spec.defaultBackend")
    if default is not None:
        yield default
    for rule in get(ingress, "spec.rules") or ():
        for path in get(rule, "http.paths") or ():
            yield path.get("backend") or {}


async def reconcile(enabled: bool, key: Key, ctx: Context) -> None:  # noqa: FBT001 -- bound once
    """Look at all ingresses together, or at what one asks for."""
    if key == ALL:
        await ctx.apply(plan(observe(ctx, enabled=enabled)))
        return
    ingress = ctx.lister(INGRESSES).get(key)
    if enabled and ingress is not None and is_ours(ingress, ctx.lister(INGRESSCLASSES).get):
        await ctx.apply(complaints(ingress, ctx.lister(SERVICES).get))


def observe(ctx: Context, *, enabled: bool) -> View:
    """Return what the caches hold."""
    classes = ctx.lister(INGRESSCLASSES)
    ingresses = (item.obj for item in ctx.lister(INGRESSES).items())
    ours = [one for one in ingresses if enabled and is_ours(one, classes.get)]
    slices = ctx.lister(ENDPOINTSLICES).items(SERVICE.namespace)
    return View(
        ours=[one for one in ours if not is_deleting(one)],
        nodes=[item.obj for item in ctx.lister(NODES).items()] if ours else (),
        service=ctx.lister(SERVICES).get(SERVICE),
        slices=[item.obj for item in slices if item.labels.get(MANAGED_BY) == NAME],
    )


def of_any(_old: Item | None, _new: Item | None, _: Context) -> Iterable[Key]:
    """Look at every change of an ingress or a class."""
    yield ALL


def of_ingress(old: Item | None, new: Item | None, _: Context) -> Iterable[Key]:
    """Look at all of them, and at one by itself where somebody has changed what it asks for."""
    yield ALL
    if new is not None and (old is None or _generation(old) != _generation(new)):
        yield new.key


def _generation(item: Item) -> object:
    return get(item.obj, "metadata.generation")


def of_service(old: Item | None, new: Item | None, _: Context) -> Iterable[Key]:
    """Look where our Service, or a slice of it, has changed."""
    if any(item is not None and item.key.name.startswith(SERVICE.name) for item in (old, new)):
        yield ALL


def of_node(old: Item | None, new: Item | None, _: Context) -> Iterable[Key]:
    """Look where an address or the readiness of a node has changed; heartbeats do not count."""
    if _counting(old) != _counting(new):
        yield ALL


def _counting(item: Item | None) -> object:
    if item is None:
        return None
    node = item.obj
    families = [address_of(node, family) for family in FAMILIES]
    return families, has_condition(node, "Ready"), is_deleting(node)


def controller(*, enabled: bool) -> Controller:
    """Return the controller; where ingress is disabled it takes away what it had made."""
    return Controller(
        name=NAME,
        also=(
            Also(INGRESSES, of_ingress),
            Also(INGRESSCLASSES, of_any),
            Also(SERVICES, of_service),
            Also(ENDPOINTSLICES, of_service),
            Also(NODES, of_node),
        ),
        reconcile=functools.partial(reconcile, enabled),
        workers=1,
    )
