"""Kubelets of the model cluster: nodes that run whatever is bound to them, in virtual time."""

import asyncio
from typing import Any

from minikube_py.api.coordination import LEASES
from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import AlreadyExistsError, ConflictError, NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, annotations_of, get
from tests.harness import World

START_SECONDS = 2.0
RUNS = "test/runs-seconds"
"""Annotation: after so many seconds the containers end."""
EXIT = "test/exit-code"
NEVER_READY = "test/never-ready"


def node(name: str, **more: Any) -> dict[str, Any]:
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110", **more.pop("allocatable", {})}
    labels = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": more,
        "status": {"allocatable": allocatable, "capacity": allocatable, "conditions": [ready]},
    }


class Kubelets:
    """All nodes at once; `silent` holds the names of those that are cut off."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.cluster.client("kubelets")
        self.silent: set[str] = set()
        self._seen: set[str] = set()
        self._address = 1

    async def add(self, *nodes: Obj) -> None:
        for one in nodes:
            await self.client.create(NODES, one)

    def start(self) -> None:
        pods = self.world.informers.get(PODS)
        pods.subscribe(self._changed)

    def heartbeats(self, *names: str, seconds: float = 10.0) -> None:
        for name in names:
            self.world.nursery.start(f"heartbeat {name}", self._beat(name, seconds))

    async def _beat(self, name: str, seconds: float) -> None:
        metadata = {"name": name, "namespace": "kube-node-lease"}
        try:
            lease = await self.client.create(LEASES, {"metadata": metadata, "spec": {}})
        except AlreadyExistsError:
            lease = await self.client.get(LEASES, name, "kube-node-lease")
        while True:
            await asyncio.sleep(seconds)
            if name not in self.silent:
                now = self.world.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                lease = await self.client.update(LEASES, {**lease, "spec": {"renewTime": now}})

    def _changed(self, old: Item | None, new: Item | None) -> None:
        if new is None or not new.fields.get("spec.nodeName"):
            return
        if new.deleting and f"{new.uid} stop" not in self._seen:
            self._seen.add(f"{new.uid} stop")
            self.world.nursery.start(f"stop {new.key}", self._stop(new))
        elif not new.deleting and new.uid not in self._seen:
            self._seen.add(new.uid)
            self.world.nursery.start(f"run {new.key}", self._run(new))

    def _cut_off(self, item: Item) -> bool:
        return item.fields["spec.nodeName"] in self.silent

    async def _stop(self, item: Item) -> None:
        await asyncio.sleep(1.0)
        if self._cut_off(item):
            return
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": item.uid}}
        if get(item.obj, "status.phase") not in ("Succeeded", "Failed"):
            await self._write(item, "Failed", "False")
        try:
            await self.client.delete(PODS, item.key.name, item.key.namespace, options=options)
        except (NotFoundError, ConflictError):
            return

    async def _run(self, item: Item) -> None:
        annotations = annotations_of(item.obj)
        await asyncio.sleep(START_SECONDS)
        if self._cut_off(item):
            return
        await self._write(item, "Running", "False" if NEVER_READY in annotations else "True")
        if RUNS in annotations:
            await asyncio.sleep(float(annotations[RUNS]))
            code = int(annotations.get(EXIT, "0"))
            await self._write(item, "Failed" if code else "Succeeded", "False", code)

    async def _write(self, item: Item, phase: str, ready: str, code: int | None = None) -> None:
        self._address += 1
        now = self.world.cluster.now()
        try:
            pod = await self.client.get(PODS, item.key.name, item.key.namespace)
        except NotFoundError:
            return
        if pod["metadata"]["uid"] != item.uid:
            return
        others = [c for c in get(pod, "status.conditions", ()) if c["type"] != "Ready"]
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": now}
        ip = get(pod, "status.podIP") or f"10.42.{self._address // 256}.{self._address % 256}"
        status = {
            "phase": phase,
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": get(pod, "status.startTime", now),
            "conditions": [*others, condition],
        }
        if code is not None:
            state = {"terminated": {"exitCode": code, "finishedAt": now}}
            status["containerStatuses"] = [
                {"name": c["name"], "state": state} for c in pod["spec"]["containers"]
            ]
        await self.client.patch(
            PODS, item.key.name, {"status": status}, item.key.namespace, subresource="status"
        )
