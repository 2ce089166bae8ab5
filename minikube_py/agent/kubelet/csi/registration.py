"""What the cluster is told of the CSI drivers that register themselves on a node.

A driver is asked what it calls this node, and the cluster is told: in CSINode, in the node's labels
(topology) and in an annotation. While no server answers a driver is used all the same, for the
pods that are here already; the cluster is told when it is back.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.csi.driver import Driver, NodeInfo
from minikube_py.agent.kubelet.plugins.registration import Plugin, Socket
from minikube_py.api.core import NODES
from minikube_py.api.errors import (
    AlreadyExistsError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
)
from minikube_py.api.object import Obj, annotations_of, evolve, get, labels_of, uid_of
from minikube_py.api.storage import CSINODES
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
KIND = "CSIPlugin"
NODE_ID = "csi.volume.kubernetes.io/nodeid"
TRIES = 5
RETRY = Backoff(first_seconds=1.0, max_seconds=30.0)


class CsiDrivers:
    """The CSI drivers of this node."""

    def __init__(self, node: str, client: Client, clock: Clock) -> None:
        self._node = node
        self._client = client
        self._clock = clock
        self._drivers: dict[str, tuple[Socket, Driver]] = {}
        self._untold: dict[str, NodeInfo] = {}
        """Drivers that the cluster has yet to be told of."""
        self._late = asyncio.Event()

    async def run(self) -> None:
        """Tell the cluster, when it is back, of drivers that came while it was away; for ever."""
        failures = 0
        while True:
            await self._late.wait()
            self._late.clear()
            for name, info in tuple(self._untold.items()):
                if not await self._told(name, info):
                    failures += 1
                    self._clock.call_later(RETRY.wait_seconds(failures), self._late.set)
                    break
                failures = 0

    async def _told(self, name: str, info: NodeInfo) -> bool:
        try:
            if name in self._drivers:
                await self._tell(name, info)
        except StatusError as error:
            log.debug("cluster not told of a CSI driver driver=%s error=%s", name, error)
            return False
        if self._untold.get(name) is info:
            del self._untold[name]
        return True

    def get(self, name: str) -> Driver | None:
        """Return a driver by its name."""
        found = self._drivers.get(name)
        return None if found is None else found[1]

    async def accept(self, plugin: Plugin) -> str:
        """Ask a driver of this node; return why it cannot be used, "" where it can."""
        name = plugin.name
        driver = Driver(name, plugin.endpoint)
        try:
            info = await driver.info()
            await self._tell_soon(name, info)
        except (CriError, StatusError) as error:
            await driver.aclose()
            log.warning("CSI driver not registered driver=%s error=%s", name, error)
            return str(error)
        before = self.get(name)
        self._drivers[name] = (plugin.socket, driver)
        if before is not None:
            await before.aclose()
        log.info("CSI driver registered driver=%s node_id=%s", name, info.node_id)
        return ""

    async def forget(self, plugin: Plugin) -> bool:
        """Take a driver back, unless another one has come in its place by now."""
        name = plugin.name
        socket, driver = self._drivers.get(name, (None, None))
        if driver is None or socket != plugin.socket:
            return True
        try:
            await self._tell(name, None)
        except StatusError as error:
            log.warning("CSI driver not taken back driver=%s error=%s", name, error)
            return False
        del self._drivers[name]
        await driver.aclose()
        log.info("CSI driver left driver=%s", name)
        return True

    async def _tell_soon(self, name: str, info: NodeInfo) -> None:
        """Tell the cluster now, or later where no server answers; raises StatusError."""
        self._untold.pop(name, None)
        try:
            await self._tell(name, info)
        except ServiceUnavailableError:
            self._untold[name] = info
            self._late.set()

    async def _tell(self, name: str, info: NodeInfo | None) -> None:
        """Tell the cluster of a driver, or that it left; raises StatusError."""
        node = await self._client.get(NODES, self._node)
        patch = node_patch(node, name, info)
        if patch is not None:
            await self._client.patch(NODES, self._node, patch)
        for _ in range(TRIES):
            try:
                there = await self._client.get(CSINODES, self._node)
            except NotFoundError:
                there = None
            wanted = with_driver(there or new_csinode(node), name, info)
            try:
                if there is None:
                    await self._client.create(CSINODES, wanted)
                elif wanted != there:
                    await self._client.update(CSINODES, wanted)
            except AlreadyExistsError:
                continue
            return


def new_csinode(node: Obj) -> Obj:
    """Return the CSINode of a node, without drivers; it goes with the node."""
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(node)}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": {"drivers": []},
    }


def with_driver(csinode: Obj, name: str, info: NodeInfo | None) -> Obj:
    """Return a CSINode with a driver as it is now, or without it."""
    others = [one for one in get(csinode, "spec.drivers") or () if one["name"] != name]
    if info is None:
        return evolve(csinode, "spec.drivers", others)
    driver: dict[str, Any] = {"name": name, "nodeID": info.node_id}
    driver["topologyKeys"] = sorted(info.topology) or None
    if info.volumes_max:
        driver["allocatable"] = {"count": info.volumes_max}
    kept = {key: value for key, value in driver.items() if value is not None}
    return evolve(csinode, "spec.drivers", [*others, kept])


def node_patch(node: Obj, name: str, info: NodeInfo | None) -> Obj | None:
    """Return what is to change in the node's metadata, None for nothing."""
    ids: dict[str, str] = json.loads(annotations_of(node).get(NODE_ID) or "{}")
    wanted = {key: value for key, value in ids.items() if key != name}
    labels: Mapping[str, str] = {}
    if info is not None:
        wanted[name] = info.node_id
        there = labels_of(node)
        labels = {k: v for k, v in info.topology.items() if there.get(k) != v}
    if wanted == ids and not labels:
        return None
    text = json.dumps(wanted, separators=(",", ":"), sort_keys=True) if wanted else None
    metadata: dict[str, Any] = {"annotations": {NODE_ID: text}}
    return {"metadata": {**metadata, "labels": labels} if labels else metadata}
