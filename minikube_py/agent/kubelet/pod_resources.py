"""The PodResources API: which pod has which devices, processors and memory, for monitoring agents.

A gRPC service on a socket below the kubelet's folder, `pod-resources/kubelet.sock`; the numbers are
those of k8s.io/kubelet/pkg/apis/podresources/v1/api.proto. Answers are made when somebody asks.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.assignments import Assignments
from minikube_py.agent.kubelet.dra.drivers import ClaimError
from minikube_py.agent.kubelet.plugins.serving import Method, RefusedError, serving
from minikube_py.agent.kubelet.pod import Spec, specs_of
from minikube_py.api.object import Key, Obj, key_of, uid_of
from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

SERVICE = "v1.PodResourcesLister"
FOLDER, SOCKET = "pod-resources", "kubelet.sock"
TABLE = """\
AllocatableResourcesRequest
AllocatableResourcesResponse devices=1:ContainerDevices* cpu_ids=2:int64* memory=3:ContainerMemory*
CDIDevice name=1:string
ClaimResource cdi_devices=1:CDIDevice* driver_name=2:string pool_name=3:string device_name=4:string
  share_id=5:string
ContainerDevices resource_name=1:string device_ids=2:string* topology=3:TopologyInfo
ContainerMemory memory_type=1:string size=2:uint64 topology=3:TopologyInfo
ContainerResources name=1:string devices=2:ContainerDevices* cpu_ids=3:int64*
  memory=4:ContainerMemory* dynamic_resources=5:DynamicResource*
DynamicResource claim_name=2:string claim_namespace=3:string claim_resources=4:ClaimResource*
GetPodResourcesRequest pod_name=1:string pod_namespace=2:string
GetPodResourcesResponse pod_resources=1:PodResources
ListPodResourcesRequest
ListPodResourcesResponse pod_resources=1:PodResources*
NUMANode ID=1:int64
PodResources name=1:string namespace=2:string containers=3:ContainerResources*
TopologyInfo nodes=1:NUMANode*
"""
Message = dict[str, Any]


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))


class PodResources:
    """Answers what pods have."""

    def __init__(
        self, root: Path, assignments: Assignments, pods: Callable[[], Iterable[Obj]]
    ) -> None:
        """Take the kubelet's folder, what was given, and the pods that run here."""
        self._socket = root / FOLDER / SOCKET
        self._assignments = assignments
        self._pods = pods

    async def run(self) -> None:
        """Serve, for ever."""
        methods = {
            "List": Method("ListPodResourcesRequest", "ListPodResourcesResponse", self._list),
            "Get": Method("GetPodResourcesRequest", "GetPodResourcesResponse", self._get),
            "GetAllocatableResources": Method(
                "AllocatableResourcesRequest", "AllocatableResourcesResponse", self._allocatable
            ),
        }
        async with serving(self._socket, SERVICE, methods, codec()):
            await asyncio.Event().wait()

    async def _list(self, _request: Mapping[str, Any]) -> Message:
        return {"pod_resources": [self._shown(pod) for pod in self._pods()]}

    async def _get(self, request: Mapping[str, Any]) -> Message:
        key = Key(request.get("pod_namespace", ""), request.get("pod_name", ""))
        for pod in self._pods():
            if key_of(pod) == key:
                return {"pod_resources": self._shown(pod)}
        raise RefusedError(f"pod {key.name} in namespace {key.namespace} not found")

    async def _allocatable(self, _request: Mapping[str, Any]) -> Message:
        given = self._assignments
        cpus, memory = given.topology.cpus, given.topology.memory
        return {
            "devices": [
                _device(resource, name, device.nodes)
                for resource, devices in sorted(given.devices.plugins.inventory.items())
                for name, device in sorted(devices.items())
                if device.is_healthy
            ],
            "cpu_ids": sorted(cpus.allocatable) if cpus is not None else [],
            "memory": [
                {"memory_type": kind, "size": size, "topology": _topology((node,))}
                for node, kinds in (memory.allocatable.items() if memory is not None else ())
                for kind, size in sorted(kinds.items())
                if size
            ],
        }

    def _shown(self, pod: Obj) -> Message:
        sidecars = (spec for spec in specs_of(pod, "initContainers") if spec.is_sidecar)
        specs = (*sidecars, *specs_of(pod, "containers"))
        return {
            "name": pod["metadata"]["name"],
            "namespace": pod["metadata"]["namespace"],
            "containers": [self._container(pod, spec) for spec in specs],
        }

    def _container(self, pod: Obj, spec: Spec) -> Message:
        uid, given = uid_of(pod), self._assignments
        cpus, memory = given.topology.cpus, given.topology.memory
        place = (uid, spec.name)
        return {
            "name": spec.name,
            "devices": [
                _device(resource, name, given.devices.nodes_of(resource, name))
                for resource, found in given.devices.of(uid, spec.name)
                for name in sorted(found.ids)
            ],
            "cpu_ids": sorted(cpus.given.get(place, ())) if cpus is not None else [],
            "memory": [
                {"memory_type": one.kind, "size": one.size, "topology": _topology(one.nodes)}
                for one in (memory.given.get(place, ()) if memory is not None else ())
                if one.size
            ],
            "dynamic_resources": list(self._claims(pod, spec)),
        }

    def _claims(self, pod: Obj, spec: Spec) -> Iterator[Message]:
        try:
            for _, record in self._assignments.claims.of(pod, spec.container):
                yield {
                    "claim_name": record.key.name,
                    "claim_namespace": record.key.namespace,
                    "claim_resources": [
                        {
                            "cdi_devices": [{"name": n} for n in one.get("cdi_device_ids") or ()],
                            "driver_name": driver,
                            "pool_name": one.get("pool_name", ""),
                            "device_name": one.get("device_name", ""),
                        }
                        for driver, devices in record.drivers.items()
                        for one in devices
                    ],
                }
        except ClaimError:
            return  # the pod has not come to its claims yet


def _device(resource: str, name: str, nodes: Iterable[int]) -> Message:
    found: Message = {"resource_name": resource, "device_ids": [name]}
    return found | ({"topology": _topology(nodes)} if nodes else {})


def _topology(nodes: Iterable[int]) -> Message:
    return {"nodes": [{"ID": node} for node in sorted(nodes)]}
