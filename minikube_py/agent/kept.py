"""What a node remembers of its cluster, on disk: objects by name, sealed, written when they change.

    all PATH?SELECTORS NS/NAME    an object of a listing; without NS/NAME: that there was a listing
    one PATH?SELECTORS NS/NAME    the same of a configMap or secret that pods refer to
    claim PATH                    a claim of a pod, the volume behind it, or what that needs
    get PATH                      another object that was asked for
    token UID HASH                the token of a pod, by what was asked for

Who reads and writes it is `keeping.py`. See docs/decisions/0024-a-node-remembers.md.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import orjson

from minikube_py.agent.kubelet.references import references_of
from minikube_py.agent.live_pods import LivePods
from minikube_py.api.core import CONFIGMAPS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, SECRETS
from minikube_py.api.core.pod_references import references_of as every_reference_of
from minikube_py.api.core.pod_references import secrets_of
from minikube_py.api.core.volume_matching import claims_of
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import RESOURCECLAIMS
from minikube_py.api.storage import VOLUMEATTACHMENTS
from minikube_py.api.storage.volumeattachment import attachment_name
from minikube_py.lib.clock import Clock
from minikube_py.lib.sealed_log import SealedLog, key_of
from minikube_py.lib.tasks import Nursery, restarting

log = logging.getLogger(__name__)
PURPOSE = b"kpy: what a node keeps of its cluster"
GATHER_SECONDS = 2.0
"""So long after a write the next changes are gathered: a power cut costs no more than these."""
DISK_RETRY_SECONDS = 60.0
OF_PODS = ("one ", "claim ", "token ")
"""What is kept for the sake of single pods."""
OF_CLAIMS = (
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    RESOURCECLAIMS,
    SECRETS,
    VOLUMEATTACHMENTS,
)
"""Kinds that are asked for by name for the volumes and devices of pods."""


class Kept:
    """The memory, on disk; runs for the length of a block, and is written once more at its end."""

    def __init__(self, file: Path, secret: str, clock: Clock) -> None:
        """Take the file, and the node's own secret, which seals it."""
        self._file, self._secret = file, secret
        self._clock = clock
        self._log = SealedLog(file, b"")
        self._nursery = Nursery("kept")
        self._changed = asyncio.Event()
        self.pods = LivePods()
        """What the node itself knows better than what it remembers."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        log.info("kept of the cluster records=%d", len(self._log.names()))
        self._nursery.start("kept", restarting("kept", self._run))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._nursery.cancel()
        try:
            await self._write()
        finally:
            self._log.close()

    def _open(self) -> None:
        key = key_of(self._secret.encode(), PURPOSE)
        self._log = SealedLog(self._file, key)
        self._log.open()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._write():
                await self._clock.sleep(GATHER_SECONDS)
            else:
                self._changed.set()
                await self._clock.sleep(DISK_RETRY_SECONDS)

    async def _write(self) -> bool:
        """Write what has changed; tell whether the disk took it."""
        if not self._log.is_changed:
            return True
        self._log.take()
        try:
            await asyncio.to_thread(self._log.write)
        except OSError as error:
            log.warning("not kept, trying again error=%s", error)
            return False
        return True

    def put(self, name: str, obj: Obj | None) -> None:
        """Keep an object, or that there is none."""
        self._log.put(name, b"" if obj is None else orjson.dumps(obj))
        self._note()

    def remove(self, name: str) -> None:
        """Keep something no longer."""
        self._log.remove(name)
        self._note()

    def _note(self) -> None:
        if self._log.is_changed:
            self._changed.set()

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so."""
        return self._log.names(prefix)

    async def read(self, names: Sequence[str]) -> list[Any]:
        """Return what is kept under some names, without what cannot be read."""
        return await asyncio.to_thread(self._read, names)

    def _read(self, names: Sequence[str]) -> list[Any]:
        try:
            found = [self._log.read(name) for name in names]
        except OSError as error:
            log.warning("what was kept cannot be read error=%s", error)
            return []
        return [orjson.loads(data) for data in found if data]

    async def keep_only(self, pods: Iterable[Obj]) -> None:
        """Forget secrets, tokens and claims that are those of none of these pods."""
        wanted = {head for pod in pods for head in await self._of_pod(pod)}
        for name in self.names():
            if name.startswith(OF_PODS) and head_of(name) not in wanted:
                self.remove(name)

    async def _of_pod(self, pod: Obj) -> list[str]:
        """Return how the names begin of what is kept for one pod."""
        found = [f"token {uid_of(pod)} "]
        found += [
            listing(kind, ref.namespace, "", f"metadata.name={ref.name}")
            for ref in references_of(pod)
            for kind in (CONFIGMAPS, SECRETS)
            if kind.plural == ref.plural
        ]
        named, namespace = every_reference_of(pod), pod["metadata"].get("namespace", "")
        found += [gotten(SECRETS, name, namespace) for name in named.secrets]
        found += [gotten(RESOURCECLAIMS, name, namespace) for name in named.resource_claims]
        for _, key in claims_of(pod):
            claim = gotten(PERSISTENTVOLUMECLAIMS, key.name, key.namespace)
            found.append(claim)
            for kept in await self.read([claim]):
                volume = gotten(PERSISTENTVOLUMES, get(kept, "spec.volumeName", ""), "")
                found += [volume, *await self._of_volume(volume, get(pod, "spec.nodeName", ""))]
        return found

    async def _of_volume(self, name: str, node: str) -> list[str]:
        """Return the names of what is kept for the sake of a persistent volume."""
        found: list[str] = []
        for volume in await self.read([name]):
            found += [gotten(SECRETS, secret, space) for space, secret in secrets_of(volume)]
            if source := get(volume, "spec.csi"):
                found.append(gotten(VOLUMEATTACHMENTS, attachment_name(source, node), ""))
        return found


def head_of(name: str) -> str:
    """Return the first two words of a name: the listing, object or pod that it belongs to."""
    return name[: name.index(" ", name.index(" ") + 1) + 1]


def listing(resource: Resource, namespace: str, labels: str, fields: str) -> str:
    """Return how the names of what was listed begin; by itself it says that it was listed."""
    is_one = resource in (CONFIGMAPS, SECRETS) and fields.startswith("metadata.name=")
    return f"{'one' if is_one else 'all'} {resource.path(namespace)}?{labels}&{fields} "


def gotten(resource: Resource, name: str, namespace: str) -> str:
    """Return the name of an object that was asked for."""
    is_claimed = resource in OF_CLAIMS
    return f"{'claim' if is_claimed else 'get'} {resource.path(namespace, name)} "


def token(account: str, request: Obj) -> str:
    """Return the name of the answer to a request for a token."""
    spec = request["spec"]
    what = hashlib.sha256(orjson.dumps([account, request["metadata"], spec])).hexdigest()
    return f"token {get(spec, 'boundObjectRef.uid', '')} {what}"
