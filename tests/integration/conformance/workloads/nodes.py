"""Nodes that run nothing and say they do: what becomes of a pod is decided by the test."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import ConflictError, NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, get
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.tasks import Nursery

LONG_AGO = timedelta(minutes=20)
"""Containers say that they ended so long ago: nobody has to wait for a back-off."""


class Fate(NamedTuple):
    """What becomes of a pod's containers."""

    ready: bool = True
    code: int | None = None
    """With which code they end, None where they run for ever."""
    rejected: str = ""
    """Why the node does not even start them."""


FateOf = Callable[[Obj, int], Fate]
"""(pod, how often its containers were started before) -> what becomes of them."""


class Nodes:
    """Some nodes with a kubelet each."""

    def __init__(self, client: Client, informers: Informers, nursery: Nursery) -> None:
        self._client = client
        self._informers = informers
        self._nursery = nursery
        self._seen: set[str] = set()
        self._addresses = 0
        self.fates: dict[str, FateOf] = {}
        """By namespace; elsewhere pods become ready and stay so."""

    async def start(self, *names: str) -> None:
        """Add nodes and begin to run pods."""
        for name in names:
            await self._client.create(NODES, node(name))
        informer = self._informers.get(PODS)
        await informer.wait_synced()
        informer.subscribe(self._changed)

    def _changed(self, _: Item | None, new: Item | None) -> None:
        if new is None or not new.fields.get("spec.nodeName"):
            return
        ending = f"{new.uid} ends" if new.deleting else new.uid
        if ending not in self._seen:
            self._seen.add(ending)
            self._nursery.start(ending, self._stop(new) if new.deleting else self._run(new))

    async def _run(self, item: Item) -> None:
        fate_of = self.fates.get(item.key.namespace, lambda *_: Fate())
        starts = 0
        while True:
            fate = fate_of(item.obj, starts)
            if fate.rejected:
                await self._write(item, {"phase": "Failed", "reason": fate.rejected})
                return
            policy = item.obj["spec"]["restartPolicy"]
            again = policy == "Always" or (policy == "OnFailure" and fate.code)
            if fate.code is None or not again:
                break
            starts += 1
        await self._write(item, self._status(item.obj, fate, starts))

    def _status(self, pod: Obj, fate: Fate, restarts: int) -> dict[str, Any]:
        self._addresses += 1
        ip = f"10.42.{self._addresses // 250}.{self._addresses % 250 + 1}"
        if fate.code is None:
            phase, state = "Running", {"running": {"startedAt": moment()}}
        else:
            phase = "Failed" if fate.code else "Succeeded"
            ended = {"exitCode": fate.code, "finishedAt": moment(LONG_AGO)}
            state = {"terminated": {"startedAt": moment(LONG_AGO), **ended}}
        ready = fate.ready and fate.code is None
        containers = [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": restarts,
                "state": state,
            }
            for one in pod["spec"]["containers"]
        ]
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "startTime": moment()}
        return {
            **status,
            "containerStatuses": containers,
            "conditions": [*others(pod), is_ready(on=ready)],
        }

    async def _stop(self, item: Item) -> None:
        if get(item.obj, "status.phase") not in ("Succeeded", "Failed"):
            status = self._status(item.obj, Fate(code=137), 0)
            await self._write(item, {**status, "conditions": [*others(item.obj), is_ready()]})
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": item.uid}}
        try:
            await self._client.delete(PODS, item.key.name, item.key.namespace, options=options)
        except (NotFoundError, ConflictError):
            return

    async def ready(self, namespace: str, name: str, *, on: bool) -> None:
        """Let a pod's probe fail or succeed from now on."""
        pod = await self._client.get(PODS, name, namespace)
        conditions = [*others(pod), is_ready(on=on)]
        patch = {"status": {"conditions": conditions}}
        await self._client.patch(PODS, name, patch, namespace, subresource="status")

    async def _write(self, item: Item, status: Obj) -> None:
        patch = {"metadata": {"uid": item.uid}, "status": status}
        try:
            await self._client.patch(
                PODS, item.key.name, patch, item.key.namespace, subresource="status"
            )
        except (NotFoundError, ConflictError):
            return


def node(name: str) -> dict[str, Any]:
    """Return a node with room for everybody."""
    room = {"cpu": "32", "memory": "64Gi", "pods": "500"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": room, "allocatable": room, "conditions": [is_ready(on=True)]},
    }


def is_ready(*, on: bool = False) -> dict[str, str]:
    """Return the condition Ready."""
    return {
        "type": "Ready",
        "status": "True" if on else "False",
        "reason": "Simulated",
        "lastTransitionTime": moment(),
        "lastHeartbeatTime": moment(),
    }


def others(pod: Obj) -> list[Obj]:
    """Return the conditions of a pod without Ready."""
    return [one for one in get(pod, "status.conditions", ()) if one["type"] != "Ready"]


def moment(ago: timedelta = timedelta()) -> str:
    """Return a time as objects have it."""
    return (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
