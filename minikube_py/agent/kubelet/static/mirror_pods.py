"""Mirror pods: how the cluster sees the static pods of a node.

For each static pod the node makes a pod in the API that says what runs here; deleting it changes
nothing here, the node makes it again. `plan` decides, one key at a time; the status of a static
pod is written to its mirror (StatusWriter.mirrored).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.agent.kubelet.static.manifest import MIRROR, mirror_hash
from minikube_py.agent.kubelet.status_writer import StatusWriter
from minikube_py.api.core import PODS
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, is_deleting, key_of, uid_of, without
from minikube_py.client.informer import Informer
from minikube_py.client.protocol import Client
from minikube_py.client.workqueue import WorkQueue
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Create:
    """Make the mirror of a static pod."""

    pod: Obj


@dataclass(frozen=True)
class Delete:
    """Remove a mirror that shows nothing of this node."""

    uid: str


@dataclass(frozen=True)
class Keep:
    """The mirror shows what runs."""

    uid: str


def plan(static: Obj | None, mirror: Obj | None) -> Create | Delete | Keep | None:
    """Return what is to be done for one name."""
    if mirror is not None:
        if static is None or is_deleting(mirror) or mirror_hash(mirror) != uid_of(static):
            return Delete(uid_of(mirror))
        return Keep(uid_of(static))
    return None if static is None else Create(static)


def mirror_of(static: Obj, node_name: str, node_uid: str) -> Obj:
    """Return the mirror of a static pod, which goes away with the node."""
    pod = without(without(static, "metadata.uid"), "status")
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node_name,
        "uid": node_uid,
        "controller": True,
    }
    annotations = {**static["metadata"]["annotations"], MIRROR: uid_of(static)}
    named = {**pod["metadata"], "annotations": annotations, "ownerReferences": [owner]}
    return {**pod, "metadata": named}


class MirrorPods:
    """Keeps the mirrors of a node's static pods."""

    def __init__(
        self,
        node: tuple[str, Callable[[], str]],
        client: Client,
        mirrors: Informer,
        statuses: StatusWriter,
        clock: Clock,
    ) -> None:
        """Take the node's name and who knows its uid, "" while nobody does."""
        self._node_name, self._node_uid = node
        self._client = client
        self._mirrors = mirrors
        self._statuses = statuses
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._statics: dict[Key, Obj] = {}

    def want(self, pod: Obj) -> None:
        """Show a static pod from now on."""
        self._statics[key_of(pod)] = pod
        self._queue.add(key_of(pod))

    def unwant(self, pod: Obj) -> None:
        """Show a static pod no more; another one of its name may have come."""
        key = key_of(pod)
        if uid_of(self._statics.get(key) or {"metadata": {}}) == uid_of(pod):
            del self._statics[key]
        self._queue.add(key)

    def changed(self, old: Item | None, new: Item | None) -> None:
        """Take news of a mirror."""
        item = new or old
        if item is not None:
            self._queue.add(item.key)

    def look_at_all(self) -> None:
        """Look at every static pod, after the node has been registered."""
        for key in self._statics:
            self._queue.add(key)

    async def run(self) -> None:
        """Keep the mirrors until cancelled; the pods of the node in the cluster are known."""
        while True:
            key = await self._queue.get()
            try:
                await self._reconcile(key)
            except StatusError as error:
                log.warning("mirror pod not kept, trying again pod=%s error=%s", key, error)
                self._queue.retry(key)
            else:
                self._queue.forget(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        mirror = self._mirrors.get(key)
        if mirror is not None and not mirror_hash(mirror):
            static = self._statics.get(key)
            if static is not None:
                log.warning("a pod of the cluster has the name of a static pod pod=%s", key)
            return
        match plan(self._statics.get(key), mirror):
            case Create(pod):
                if self._node_uid():
                    made = mirror_of(pod, self._node_name, self._node_uid())
                    await self._client.create(PODS, made)
            case Delete(uid):
                await self._delete(key, uid)
            case Keep(uid) if mirror is not None:
                self._statuses.mirrored(uid, mirror)
            case _:
                pass

    async def _delete(self, key: Key, uid: str) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            await self._client.delete(PODS, key.name, key.namespace, options=options)
        except (NotFoundError, ConflictError):
            log.debug("mirror pod was gone pod=%s", key)
