"""Binds a pod to its node through the API."""

from minikube_py.api.core import PODS
from minikube_py.api.object import Obj
from minikube_py.server.scheduler.framework import Cycle, Handle
from minikube_py.server.scheduler.pod_info import PodInfo


class DefaultBinder:
    """Creates the Binding."""

    name = "DefaultBinder"

    def __init__(self, handle: Handle) -> None:
        self._client = handle.client

    async def bind(self, cycle: Cycle, node: str) -> bool:
        """Bind the pod; this plugin never leaves it to another one."""
        pod = cycle.pod
        await self._client.create(
            PODS, binding(pod, node), subresource="binding", name=pod.key.name
        )
        return True


def binding(pod: PodInfo, node: str) -> Obj:
    """Return the Binding of a pod to a node."""
    metadata = {"name": pod.key.name, "namespace": pod.namespace, "uid": pod.uid}
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
