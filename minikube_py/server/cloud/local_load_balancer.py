"""Load balancers without a cloud: a service is reached at the addresses and ports of the nodes.

Nothing is made for it. `status.loadBalancer` lists the addresses of the nodes that serve, and
kube-proxy, which sends on whatever comes for an address in that list, does the rest: source
ranges, traffic policies, affinity. So there is no finalizer, for nothing can be left behind.

A port of a node can be had once. Who has a load balancer keeps it, then the older service comes
first; what the node itself needs, node ports and pods' host ports stand before all services. A
service that gets no port waits, is told why, and gets it when it is free. Where there is a pool of
addresses, each service has one of its own instead, for which one node answers. All services are
looked at together, in one pure function of those that ask and the machines there are.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from minikube_py.api.announcements import ANNOUNCED_BY
from minikube_py.api.core import NODES, PODS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, get, is_deleting, key_of, uid_of
from minikube_py.client.actions import Action, Emit, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.lib.tasks import together
from minikube_py.server.cloud import address_pool
from minikube_py.server.cloud.local_shares import (
    Machine,
    Port,
    Verdict,
    ask_of,
    derive,
    machine_of,
    serving_nodes,
)
from minikube_py.server.cloud.service import NO_NODES, plan_status, wants

NAME = "service-lb-controller"
ALL = Key("", "load balancers")
SERVICE_LABEL = "kubernetes.io/service-name"
NODE_PORTS = {("TCP", 10250): "the kubelet", ("TCP", 10256): "kube-proxy"}
ASKING, LEFT, HOST_PORT, NODE_PORT, SLICES = (
    f"load balancers: {what}" for what in ("asking", "left", "host port", "node port", "slices")
)
"""Names of indexes; caches are shared with other controllers."""


def plan(service: Obj, verdict: Verdict, told: Verdict | None) -> Iterator[Action]:
    """Tell a service what it got; events tell what has changed since it was last told."""
    before = [one.get("ip") for one in get(service, "status.loadBalancer.ingress") or ()]
    after = list(verdict.addresses)
    yield from plan_status(service, {"ingress": [{"ip": address} for address in after]})
    if after and before != after:
        yield (
            Emit(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
            if before
            else Emit(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        )
    announcer = verdict.announcer or None
    if annotations_of(service).get(ANNOUNCED_BY) != announcer:
        metadata = {"uid": uid_of(service), "annotations": {ANNOUNCED_BY: announcer}}
        yield Patch(SERVICES, key_of(service), {"metadata": metadata}, missing_ok=True)
    if verdict == told:
        return
    if verdict.conflict:
        yield Emit(service, "Warning", verdict.reason, verdict.conflict)
    elif not after:
        yield Emit(service, "Warning", "UnAvailableLoadBalancer", NO_NODES)


async def reconcile(
    reserved: Mapping[Port, str], pools: Sequence[address_pool.Range], _: Key, ctx: Context
) -> None:
    """See to all services."""
    services = ctx.lister(SERVICES)
    asking = [item.obj for item in services.indexed(ASKING, "")]
    machines: dict[str, Machine] = _machines(ctx)
    asks = [ask_of(service, _slices(service, ctx)) for service in asking]
    if pools:
        verdicts = address_pool.assign(asks, machines.values(), pools)
    else:
        verdicts = derive(asks, machines.values(), lambda *at: holder(reserved, ctx, *at))
    told: dict[Key, Verdict] = ctx.memory.get("told", {})
    ctx.memory["told"] = {key: told[key] for key in told.keys() & verdicts.keys()}
    left = [item.obj for item in services.indexed(LEFT, "")]
    works = [ctx.apply(plan_status(service, {})) for service in left]
    works += [_tell(service, verdicts[key_of(service)], ctx) for service in asking]
    for outcome in await together(works):  # one that is refused does not hold up the others
        if isinstance(outcome, Exception):
            raise outcome


async def _tell(service: Obj, verdict: Verdict, ctx: Context) -> list[Obj]:
    told: dict[Key, Verdict] = ctx.memory["told"]
    key = key_of(service)
    done = await ctx.apply(plan(service, verdict, told.get(key)))
    told[key] = verdict
    return done


def _machines(ctx: Context) -> dict[str, Machine]:
    machines: dict[str, Machine] = ctx.memory.setdefault("machines", {})
    return machines


def _slices(service: Obj, ctx: Context) -> list[Obj]:
    namespace, name = key_of(service)
    return [i.obj for i in ctx.lister(ENDPOINTSLICES).indexed(SLICES, f"{namespace}/{name}")]


def holder(
    reserved: Mapping[Port, str], ctx: Context, machine: Machine, port: Port, asking: Key
) -> str:
    """Return who has a port of a machine before all services: the node, a node port, a pod."""
    if port in reserved:
        return reserved[port]
    for item in ctx.lister(SERVICES).indexed(NODE_PORT, str(port)):
        if item.key != asking:
            return f"the node port of service {item.key}"
    for item in ctx.lister(PODS).indexed(HOST_PORT, f"{machine.name} {port}"):
        return f"pod {item.key}"
    return ""


def index(ctx: Context) -> None:
    """Have found by index what is looked for."""
    services = ctx.lister(SERVICES)
    services.add_index(ASKING, lambda item: ("",) if _is_asking(item.obj) else ())
    services.add_index(LEFT, lambda item: ("",) if _is_left(item.obj) else ())
    services.add_index(NODE_PORT, lambda item: node_ports(item.obj))
    ctx.lister(PODS).add_index(HOST_PORT, host_ports)
    ctx.lister(ENDPOINTSLICES).add_index(
        SLICES, lambda item: (f"{item.key.namespace}/{item.labels.get(SERVICE_LABEL, '')}",)
    )


def _is_asking(service: Obj) -> bool:
    return wants(service) and not is_deleting(service)


def _is_left(service: Obj) -> bool:
    """Return whether a service still shows what it no longer asks for."""
    is_other = service["spec"].get("type") != "LoadBalancer"
    return is_other and bool(get(service, "status.loadBalancer.ingress"))


def node_ports(service: Obj) -> list[str]:
    """Return the ports that a service has on every node."""
    return [
        str(Port(port.get("protocol") or "TCP", port["nodePort"]))
        for port in service["spec"].get("ports") or ()
        if port.get("nodePort")
    ]


def has_host_ports(item: Item) -> bool:
    """Return whether a pod may have ports of its node; hardly any has, so none is parsed for it."""
    return b'"hostPort"' in item.data


def host_ports(item: Item) -> list[str]:
    """Return the ports that a pod has on its node, with the node's name."""
    if not has_host_ports(item):
        return []
    pod = item.obj
    node = get(pod, "spec.nodeName")
    if not node or get(pod, "status.phase") in ("Succeeded", "Failed"):
        return []
    containers = [*get(pod, "spec.containers", ()), *get(pod, "spec.initContainers", ())]
    return [
        f"{node} {Port(port.get('protocol') or 'TCP', port['hostPort'])}"
        for container in containers
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def of_service(old: Item | None, new: Item | None, _: Context) -> Iterable[Key]:
    """Look where a service asks, asked, or has a port that others may wait for."""
    for item in (old, new):
        if item is not None and (wants(item.obj) or node_ports(item.obj) or _is_left(item.obj)):
            yield ALL
            return


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Look where what counts of a node has changed; heartbeats do not count."""
    machines = _machines(ctx)
    item = new or old
    if item is None:
        return
    machine = machine_of(new.obj) if new is not None else None
    before = machines.pop(item.key.name, None)
    if machine is not None:
        machines[item.key.name] = machine
    if before != machine:
        yield ALL


def of_pod(old: Item | None, new: Item | None, _: Context) -> Iterable[Key]:
    """Look where ports of a node were taken or are free again."""
    before, after = (host_ports(item) if item is not None else [] for item in (old, new))
    if before != after:
        yield ALL


def of_slice(old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Look where other nodes have endpoints of a service that is served only there."""
    item = new or old
    if item is None:
        return
    name = item.labels.get(SERVICE_LABEL, "")
    service = ctx.lister(SERVICES).get(Key(item.key.namespace, name))
    if service is None or not wants(service):
        return
    if service["spec"].get("externalTrafficPolicy") != "Local":
        return
    nodes = [serving_nodes([one.obj]) if one is not None else None for one in (old, new)]
    if nodes[0] != nodes[1]:
        yield ALL


def controller(api_server_port: int = 0, pools: Sequence[address_pool.Range] = ()) -> Controller:
    """Return the controller; `api_server_port` is nobody else's, 0 where it is not known."""
    reserved = {Port(*port): what for port, what in NODE_PORTS.items()}
    if api_server_port:
        reserved[Port("TCP", api_server_port)] = "the API server"

    return Controller(
        name=NAME,
        user="system:cloud-controller-manager",
        also=(
            Also(SERVICES, of_service),
            Also(NODES, of_node),
            Also(PODS, of_pod),
            Also(ENDPOINTSLICES, of_slice),
        ),
        reconcile=functools.partial(reconcile, reserved, pools),
        workers=1,
        start=index,
    )
