"""Tells the cluster how pods are: only what changed, newest only, and never in anybody's way.

A pod worker hands over a status and goes on. Here each pod stands in the queue at most once, so a
status that is overtaken before it was sent is never sent. Lists that others write to as well
(conditions) are patched by key, so that a foreign condition cannot be lost.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.agent.kubelet.static.manifest import is_static
from minikube_py.agent.kubelet.status import is_own
from minikube_py.api.core import PODS
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Key, Obj, key_of, uid_of
from minikube_py.client.protocol import Client
from minikube_py.client.workqueue import WorkQueue
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
WRITERS = 4
CONTRADICTION_SECONDS = 1.0
"""How long what others have written over a status stands. Who acts on it sees it for sure: a daemon
set replaces a pod that was marked as failed. Upstream's kubelet looks every 10 s."""
MERGED = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}
"""Lists of a pod's status that the server merges by key."""
OWNED = frozenset(
    {
        "reason",
        "message",
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    }
)
"""Fields that the kubelet takes away again; others may be somebody else's."""


def status_patch(old: Obj, new: Obj) -> dict[str, Any]:
    """Return the strategic merge patch from one status to another; {} where they are equal."""
    patch: dict[str, Any] = {key: None for key in OWNED if key in old and key not in new}
    for key, value in new.items():
        if old.get(key) == value:
            continue
        if key in MERGED:
            patch[key] = _list_patch(_own(key, old.get(key)), _own(key, value), MERGED[key])
        else:
            patch[key] = value
    return {key: value for key, value in patch.items() if value != []}


def _own(field: str, entries: Sequence[Obj] | None) -> Sequence[Obj]:
    """Return the entries that are the kubelet's; conditions of others are theirs to write."""
    if field != "conditions":
        return entries or ()
    return [entry for entry in entries or () if is_own(entry)]


def _list_patch(old: Sequence[Obj], new: Sequence[Obj], key: str) -> list[dict[str, Any]]:
    before = {entry[key]: entry for entry in old}
    kept = {entry[key] for entry in new}
    changed = [_entry_patch(before.get(entry[key]), entry) for entry in new]
    gone = [{"$patch": "delete", key: name} for name in before if name not in kept]
    return [entry for entry in changed if entry] + gone


def _entry_patch(old: Obj | None, new: Obj) -> dict[str, Any]:
    # A server shows some fields that nobody has set as null.
    said, wanted = _set(old or {}), _set(new)
    return {} if said == wanted else wanted | {key: None for key in said if key not in wanted}


def _set(entry: Obj) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


@dataclass
class _Pod:
    """What is known and what is to be told of one pod."""

    key: Key
    target: str
    """The uid of the object at the server, "" where there is none yet."""
    known: Obj
    """The status that the server has."""
    revision: int
    wanted: Mapping[str, Any] | None = None
    told: asyncio.Event = field(default_factory=asyncio.Event)


Hear = Callable[[str, Mapping[str, Any] | None], None]
"""Is told of each status that a pod (by uid) gets, and of None when it is gone."""


def nobody(_uid: str, _status: Mapping[str, Any] | None) -> None:
    """Hear nothing."""


class StatusWriter:
    """The statuses of the pods of this node on their way to the server."""

    def __init__(self, client: Client, clock: Clock, hear: Hear = nobody) -> None:
        self._hear = hear
        self._client = client
        self._queue: WorkQueue[str] = WorkQueue(clock)
        self._pods: dict[str, _Pod] = {}

    def seen(self, pod: Obj) -> None:
        """Take note of a pod as the server has it."""
        uid, revision = uid_of(pod), int(pod["metadata"].get("resourceVersion") or 0)
        status = pod.get("status") or {}
        known = self._pods.get(uid)
        if known is None:
            target = "" if is_static(pod) else uid
            self._pods[uid] = _Pod(key_of(pod), target, status, revision)
        elif revision > known.revision:
            # What comes back as it was written is settled, even if the server left out a detail.
            changed = known.known != status
            known.known, known.revision = status, revision
            if changed and known.wanted is not None and status_patch(status, known.wanted):
                known.told.clear()
                self._queue.add_after(uid, CONTRADICTION_SECONDS)

    def mirrored(self, uid: str, mirror: Obj) -> None:
        """Have the status of a static pod told to its mirror from now on."""
        pod = self._pods.get(uid)
        if pod is None:
            return
        pod.target, pod.known = uid_of(mirror), mirror.get("status") or {}
        pod.revision = int(mirror["metadata"].get("resourceVersion") or 0)
        if pod.wanted is not None and status_patch(pod.known, pod.wanted):
            pod.told.clear()
            self._queue.add(uid)

    def set(self, uid: str, status: Mapping[str, Any]) -> None:
        """Have a status told, in place of any before it."""
        pod = self._pods.get(uid)
        if pod is None:
            return
        self._hear(uid, status)
        is_news = pod.wanted != status
        if not is_news and pod.told.is_set():
            return
        pod.wanted = status
        if status_patch(pod.known, status):
            pod.told.clear()
            self._queue.add_after(uid, 0.0 if is_news else CONTRADICTION_SECONDS)
        else:
            pod.told.set()

    def known(self, uid: str) -> Obj:
        """Return the newest status of a pod: the one to be told, or else the server's."""
        pod = self._pods.get(uid)
        if pod is None:
            return {}
        return pod.known if pod.wanted is None else pod.wanted

    async def told(self, uid: str) -> None:
        """Wait until the newest status of a pod has reached the server, or the pod is gone."""
        pod = self._pods.get(uid)
        if pod is not None and pod.wanted is not None:
            await pod.told.wait()

    def forget(self, uid: str) -> None:
        """Tell nothing of that pod any more."""
        pod = self._pods.pop(uid, None)
        if pod is not None:
            self._hear(uid, None)
            pod.told.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with Nursery("status writers") as nursery:
            tasks = [nursery.start(f"status writer {n}", self._work()) for n in range(WRITERS)]
            await asyncio.gather(*tasks)

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                await self._write(uid)
            finally:
                self._queue.done(uid)

    async def _write(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is None or pod.wanted is None or not pod.target:
            self._queue.forget(uid)
            return
        wanted = pod.wanted
        patch = status_patch(pod.known, wanted)
        if patch:
            try:
                await self._patch(pod, patch)
            except (NotFoundError, ConflictError):
                # Gone, or another pod of that name: the informer will tell.
                log.debug("status of a pod that is gone pod=%s uid=%s", pod.key, uid)
            except StatusError as error:
                log.warning("status not written, trying again pod=%s error=%s", pod.key, error)
                self._queue.retry(uid)
                return
        self._queue.forget(uid)
        if pod.wanted is wanted:
            pod.told.set()
        else:
            self._queue.add(uid)

    async def _patch(self, pod: _Pod, patch: Mapping[str, Any]) -> None:
        answer = await self._client.patch(
            PODS,
            pod.key.name,
            {"metadata": {"uid": pod.target}, "status": patch},
            pod.key.namespace,
            patch_type="strategic",
            subresource="status",
        )
        revision = int(answer["metadata"].get("resourceVersion") or 0)
        if revision > pod.revision:
            pod.known, pod.revision = answer.get("status") or {}, revision
