"""The Service in front of the nodes' ingress is there while it is needed, and ingresses tell so."""

from typing import Any

from minikube_py.api.core import EVENTS, NODES, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.networking import INGRESSCLASSES, INGRESSES
from minikube_py.api.networking.ingress_ours import CONTROLLER, SERVICE
from minikube_py.api.object import Key, evolve, get
from minikube_py.server.controllers import ingress
from tests.harness import World, harness
from tests.virtual_time import settle, virtual

SLICE = Key("kube-system", "kpy-ingress-ipv4")


def made(name: str = "web", **spec: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    metadata = {"namespace": "default", "name": name}
    return {"metadata": metadata, "spec": {"defaultBackend": backend, **spec}}


def ours(name: str = "web") -> dict[str, Any]:
    return made(name, ingressClassName="kpy")


def node(name: str, address: str, *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    addresses = [{"type": "InternalIP", "address": address}]
    status = {"conditions": conditions, "addresses": addresses}
    return {"metadata": {"name": name}, "status": status}


def prepare(world: World) -> None:
    world.cluster.write(
        INGRESSCLASSES, {"metadata": {"name": "kpy"}, "spec": {"controller": CONTROLLER}}
    )
    world.cluster.write(
        INGRESSCLASSES, {"metadata": {"name": "x"}, "spec": {"controller": "x.y/z"}}
    )
    world.cluster.write(NODES, node("b", "192.0.2.2"))
    world.cluster.write(NODES, node("a", "192.0.2.1", ready=False))


def endpoints(world: World) -> list[tuple[str, str, bool]]:
    found = world.cluster.table(ENDPOINTSLICES)[SLICE].obj
    return [
        (one["nodeName"], one["addresses"][0], one["conditions"]["ready"])
        for one in found["endpoints"]
    ]


@virtual
async def test_the_service_comes_with_the_first_ingress_and_goes_with_the_last() -> None:
    async with harness() as world:
        prepare(world)
        world.run(ingress.controller(enabled=True))
        world.cluster.write(INGRESSES, made("others", ingressClassName="x"))
        world.cluster.write(INGRESSES, made("nobodys"))
        await settle()
        assert SERVICE not in world.cluster.table(SERVICES)
        first = world.cluster.write(INGRESSES, ours())
        await settle()
        service = world.cluster.table(SERVICES)[SERVICE].obj
        assert [port["port"] for port in service["spec"]["ports"]] == [80, 443]
        assert service["spec"]["externalTrafficPolicy"] == "Local"
        assert endpoints(world) == [("a", "192.0.2.1", False), ("b", "192.0.2.2", True)]
        world.cluster.remove(INGRESSES, first)
        await settle()
        assert SERVICE not in world.cluster.table(SERVICES)
        assert SLICE not in world.cluster.table(ENDPOINTSLICES)


@virtual
async def test_ingresses_tell_where_the_service_is_reached_and_others_are_left_alone() -> None:
    async with harness() as world:
        prepare(world)
        world.run(ingress.controller(enabled=True))
        world.cluster.write(INGRESSES, ours())
        world.cluster.write(INGRESSES, made("others", ingressClassName="x"))
        await settle()
        service = world.cluster.table(SERVICES)[SERVICE].obj
        balancer = {"ingress": [{"ip": "192.0.2.2", "ipMode": "VIP"}]}
        world.cluster.write(SERVICES, evolve(service, "status.loadBalancer", balancer))
        await settle()
        told = {
            key.name: get(item.obj, "status.loadBalancer.ingress")
            for key, item in world.cluster.table(INGRESSES).items()
        }
        assert told == {"web": [{"ip": "192.0.2.2"}], "others": None}


@virtual
async def test_endpoints_follow_the_nodes() -> None:
    async with harness() as world:
        prepare(world)
        world.run(ingress.controller(enabled=True))
        world.cluster.write(INGRESSES, ours())
        await settle()
        world.cluster.write(NODES, node("a", "192.0.2.9"))
        world.cluster.remove(NODES, world.cluster.table(NODES)[Key("", "b")].obj)
        await settle()
        assert endpoints(world) == [("a", "192.0.2.9", True)]


@virtual
async def test_where_ingress_is_disabled_what_was_made_is_taken_away() -> None:
    async with harness() as world:
        prepare(world)
        world.cluster.write(SERVICES, evolve(ingress.wanted_service(), "metadata.uid", "u"))
        world.cluster.write(INGRESSES, ours())
        world.run(ingress.controller(enabled=False))
        await settle()
        assert SERVICE not in world.cluster.table(SERVICES)


@virtual
async def test_backends_that_are_not_served_are_told_of_once_for_each_change() -> None:
    async with harness() as world:
        prepare(world)
        world.run(ingress.controller(enabled=True))
        outside = {"type": "ExternalName", "externalName": "x.example.com"}
        name = {"namespace": "default", "name": "outside"}
        world.cluster.write(SERVICES, {"metadata": name, "spec": outside})
        served = {"service": {"name": "web", "port": {"number": 80}}}
        backends = (
            {"resource": {"apiGroup": "x.y", "kind": "Bucket", "name": "b"}},
            {"service": {"name": "outside", "port": {"number": 80}}},
            served,
        )
        paths = [{"path": f"/{n}", "backend": one} for n, one in enumerate(backends)]
        made = evolve(ours(), "spec.rules", [{"http": {"paths": paths}}])
        world.cluster.write(INGRESSES, evolve(made, "metadata.generation", 1))
        await settle()
        wanted = [
            "backends that are no services are not served",
            "service outside is of type ExternalName, which is not served",
        ]
        assert told(world) == wanted
        world.cluster.write(NODES, node("c", "192.0.2.3"))
        await settle()
        assert told(world) == wanted


def told(world: World) -> list[str]:
    """Return what events say; those that were told again count as often."""
    found = [item.obj for item in world.cluster.table(EVENTS).values()]
    assert {one["reason"] for one in found} == {"BackendNotServed"}
    return sorted(one["message"] for one in found for _ in range(one["count"]))
