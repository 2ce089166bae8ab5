"""A cloud in dictionaries, whose calls are counted, fail, or end the caller when a test says so."""

import asyncio
from collections.abc import Callable
from typing import Any

from minikube_py.api.object import Obj, get
from minikube_py.server.cloud.provider import (
    CloudError,
    InstanceMetadata,
    Provider,
    Route,
    load_balancer_name,
)


class FakeCloud:
    """All three parts; every call and every step inside one is a place where it may end."""

    polled = True

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        """Called before each step; raises to let it fail."""
        self.machines: dict[str, InstanceMetadata] = {}
        self.off: set[str] = set()
        self.routes: dict[str, Route] = {}
        self.balancers: dict[str, dict[str, Any]] = {}
        self.addresses: dict[str, str] = {}
        """A second resource of each load balancer: may be left behind, or be made twice."""

    def provider(self, **parts: bool) -> Provider:
        wanted = parts or {"instances": True, "routes": True, "load_balancers": True}
        return Provider(
            name="fake",
            instances=self if wanted.get("instances") else None,
            routes=RoutesOf(self) if wanted.get("routes") else None,
            load_balancers=BalancersOf(self) if wanted.get("load_balancers") else None,
        )

    async def step(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0.01)
        self.before(name)

    def machine(self, name: str, **more: Any) -> InstanceMetadata:
        found = InstanceMetadata(**{"provider_id": f"fake://{name}", **more})
        self.machines[name] = found
        return found

    async def exists(self, node: Obj) -> bool:
        await self.step("exists")
        return node["metadata"]["name"] in self.machines

    async def is_shut_down(self, node: Obj) -> bool:
        await self.step("is_shut_down")
        return node["metadata"]["name"] in self.off

    async def metadata(self, node: Obj) -> InstanceMetadata | None:
        await self.step("metadata")
        name = node["metadata"]["name"]
        if name not in self.machines:
            raise CloudError(f"instance {name} not found")
        return self.machines[name]


class RoutesOf:
    """The part of routes."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud

    async def list(self, cluster: str) -> list[Route]:
        await self._cloud.step("list routes")
        return list(self._cloud.routes.values())

    async def create(self, cluster: str, hint: str, route: Route) -> None:
        await self._cloud.step(f"create route {route.destination}")
        assert route.destination not in self._cloud.routes
        self._cloud.routes[route.destination] = route

    async def delete(self, cluster: str, route: Route) -> None:
        await self._cloud.step(f"delete route {route.destination}")
        self._cloud.routes.pop(route.destination, None)


class BalancersOf:
    """The part of load balancers; each is two resources."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud

    async def get(self, cluster: str, service: Obj) -> Obj | None:
        await self._cloud.step("get")
        name = load_balancer_name(service)
        cloud = self._cloud
        return {} if name in cloud.balancers or name in cloud.addresses else None

    async def ensure(self, cluster: str, service: Obj, nodes: list[Obj]) -> Obj:
        cloud, name = self._cloud, load_balancer_name(service)
        await cloud.step("ensure address")
        cloud.addresses.setdefault(name, f"203.0.113.{len(cloud.addresses) + 1}")
        await cloud.step("ensure balancer")
        cloud.balancers[name] = {"ports": [port["port"] for port in get(service, "spec.ports")]}
        await cloud.step("ensure targets")
        cloud.balancers[name]["nodes"] = [node["metadata"]["name"] for node in nodes]
        return {"ingress": [{"ip": cloud.addresses[name]}]}

    async def update(self, cluster: str, service: Obj, nodes: list[Obj]) -> None:
        await self._cloud.step("update")
        names = [node["metadata"]["name"] for node in nodes]
        self._cloud.balancers[load_balancer_name(service)]["nodes"] = names

    async def delete(self, cluster: str, service: Obj) -> None:
        name = load_balancer_name(service)
        await self._cloud.step("delete balancer")
        self._cloud.balancers.pop(name, None)
        await self._cloud.step("delete address")
        self._cloud.addresses.pop(name, None)


def node(name: str = "n1", *, ready: bool = True, **more: Any) -> dict[str, Any]:
    """Return a node to be created; `taints`, `labels`, `cidrs`, `annotations` as given."""
    spec: dict[str, Any] = {"taints": list(more.get("taints", ()))}
    if more.get("cidrs"):
        spec["podCIDRs"] = more["cidrs"]
        spec["podCIDR"] = more["cidrs"][0]
    if more.get("provider_id"):
        spec["providerID"] = more["provider_id"]
    addresses = more.get("addresses", [{"type": "Hostname", "address": name}])
    metadata = {"name": name, "labels": more.get("labels", {})}
    if more.get("annotations"):
        metadata["annotations"] = more["annotations"]
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    status = {"addresses": addresses, "conditions": [condition]}
    return {"metadata": metadata, "spec": spec, "status": status}


def service(name: str = "web", port: int = 80, **spec: Any) -> dict[str, Any]:
    """Return a service of type LoadBalancer to be created."""
    return {
        "metadata": {"name": name, "namespace": "d"},
        "spec": {
            "type": "LoadBalancer",
            "ports": [{"port": port, "protocol": "TCP", "targetPort": port}],
            "clusterIP": "10.43.0.9",
            "clusterIPs": ["10.43.0.9"],
            "ipFamilies": ["IPv4"],
            **spec,
        },
    }
