"""Drivers register themselves: a socket in a folder that the kubelet follows.

Behind the socket somebody answers what is offered under which name and where. The driver is asked
what it calls this node, and the cluster is told: in CSINode, in the node's labels (topology) and in
an annotation. A socket that goes takes its driver along. The protocol is
k8s.io/kubelet/pkg/apis/pluginregistration/v1.
"""

import contextlib
import json
import logging
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.csi.driver import Driver, NodeInfo
from minikube_py.agent.kubelet.csi.messages import codec
from minikube_py.api.core import NODES
from minikube_py.api.errors import AlreadyExistsError, NotFoundError, StatusError
from minikube_py.api.object import Obj, annotations_of, evolve, get, labels_of, uid_of
from minikube_py.api.storage import CSINODES
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.inotify import Inotify

log = logging.getLogger(__name__)
SERVICE = "/pluginregistration.Registration/"
KIND = "CSIPlugin"
NODE_ID = "csi.volume.kubernetes.io/nodeid"
TRIES = 5
RETRY = Backoff(first_seconds=0.5, max_seconds=120.0)
"""As upstream's plugin manager waits."""


class Socket(NamedTuple):
    """A socket in the folder; one that was made anew under its name is another."""

    path: Path
    inode: int
    made: int


class Registration:
    """The drivers of this node."""

    def __init__(self, folder: Path, node: str, client: Client, clock: Clock) -> None:
        """Take the folder of sockets."""
        self._folder = folder
        self._node = node
        self._client = client
        self._clock = clock
        self._drivers: dict[str, tuple[Socket, Driver]] = {}
        self._others: set[Socket] = set()
        """Plugins of other kinds."""
        self._failures = 0

    def get(self, name: str) -> Driver | None:
        """Return a driver by its name."""
        found = self._drivers.get(name)
        return None if found is None else found[1]

    async def run(self) -> None:
        """Follow the folder, for ever; what failed is tried again, later each time."""
        make_dir(self._folder, 0o750)
        with contextlib.closing(Inotify()) as notify, notify.folder(self._folder) as changed:
            while True:
                changed.clear()  # before the look: what changes during it is looked at, too
                done = await self.look()
                self._failures = 0 if done else self._failures + 1
                timer = None
                if not done:
                    wait = RETRY.wait_seconds(self._failures)
                    timer = self._clock.call_later(wait, changed.set)
                await changed.wait()
                if timer is not None:
                    timer.cancel()

    async def look(self) -> bool:
        """Take up drivers that came, forget those that went; tell whether all went well."""
        there = set(_sockets(self._folder))
        done = True
        for name, (socket, driver) in tuple(self._drivers.items()):
            if socket not in there:
                done = await self._forget(name, driver) and done
        known = {socket for socket, _ in self._drivers.values()}
        self._others &= there
        for socket in sorted(there - known - self._others):
            done = await self._register(socket) and done
        return done

    async def _forget(self, name: str, driver: Driver) -> bool:
        try:
            await self._tell(name, None)
        except StatusError as error:
            log.warning("CSI driver not taken back driver=%s error=%s", name, error)
            return False
        del self._drivers[name]
        await driver.aclose()
        log.info("CSI driver left driver=%s", name)
        return True

    async def _register(self, socket: Socket) -> bool:
        connection = Connection(str(socket.path), codec)
        try:
            found = await connection.ask(SERVICE + "GetInfo", ("InfoRequest", {}), "PluginInfo")
            if found.get("type") != KIND:
                self._others.add(socket)
                return True
            error = await self._accept(socket, found)
            status = {"plugin_registered": not error, "error": error}
            request = ("RegistrationStatus", status)
            answer = "RegistrationStatusResponse"
            await connection.ask(SERVICE + "NotifyRegistrationStatus", request, answer)
        except CriError as error:
            log.warning("plugin not registered socket=%s error=%s", socket.path.name, error)
            return False
        finally:
            await connection.aclose()
        return not error

    async def _accept(self, socket: Socket, found: Mapping[str, Any]) -> str:
        """Ask a driver of this node; return why it cannot be used, "" where it can."""
        name = str(found.get("name", ""))
        driver = Driver(name, str(found.get("endpoint") or socket.path))
        try:
            info = await driver.info()
            await self._tell(name, info)
        except (CriError, StatusError) as error:
            await driver.aclose()
            log.warning("CSI driver not registered driver=%s error=%s", name, error)
            return str(error)
        before = self.get(name)
        self._drivers[name] = (socket, driver)
        if before is not None:
            await before.aclose()
        log.info("CSI driver registered driver=%s node_id=%s", name, info.node_id)
        return ""

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


def _sockets(folder: Path) -> Iterator[Socket]:
    for path in folder.iterdir():
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISSOCK(found.st_mode):
            yield Socket(path, found.st_ino, found.st_ctime_ns)


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
