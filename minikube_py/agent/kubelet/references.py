"""ConfigMaps and secrets that the pods of this node refer to: fetched and watched one by one.

A node may not see all secrets of a cluster, and has no use for them. So each object that a pod
names is followed by an informer of its own for as long as a pod holds it; a change wakes those
pods and no others.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from minikube_py.agent.kubelet.pod import all_specs, volumes_of
from minikube_py.api.core import CONFIGMAPS, SECRETS
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.informer import Informer
from minikube_py.client.protocol import Client
from minikube_py.client.watcher import Selection, Watcher
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
SYNC_SECONDS = 10.0
FOLLOWED_MAX = 4000
"""110 pods with some tens of references each; beyond that a node is misused."""
RESOURCES = {resource.plural: resource for resource in (CONFIGMAPS, SECRETS)}


class Ref(NamedTuple):
    """One configMap or secret."""

    plural: str
    namespace: str
    name: str


def _payload_refs(source: Obj) -> Iterator[tuple[str, str]]:
    """Yield (plural, name) of a volume or of one projection in it."""
    if inner := source.get("configMap"):
        yield "configmaps", inner.get("name", "")
    if inner := source.get("secret"):
        yield "secrets", inner.get("secretName") or inner.get("name", "")
    for part in get(source, "projected.sources") or ():
        yield from _payload_refs(part)


def _env_refs(container: Obj) -> Iterator[tuple[str, str]]:
    for entry in container.get("envFrom") or ():
        if ref := entry.get("configMapRef"):
            yield "configmaps", ref["name"]
        if ref := entry.get("secretRef"):
            yield "secrets", ref["name"]
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        if ref := source.get("configMapKeyRef"):
            yield "configmaps", ref["name"]
        if ref := source.get("secretKeyRef"):
            yield "secrets", ref["name"]


def references_of(pod: Obj) -> frozenset[Ref]:
    """Return all configMaps and secrets that a pod names."""
    namespace = pod["metadata"].get("namespace", "")
    found: set[tuple[str, str]] = set()
    for volume in volumes_of(pod):
        found |= set(_payload_refs(volume))
    for spec in all_specs(pod):
        found |= set(_env_refs(spec.container))
    for ref in get(pod, "spec.imagePullSecrets") or ():
        found.add(("secrets", ref.get("name", "")))
    return frozenset(Ref(plural, namespace, name) for plural, name in found if name)


@dataclass
class _Followed:
    informer: Informer
    task: asyncio.Task[None]
    holders: set[str] = field(default_factory=set)


class ReferencesTimeoutError(Exception):
    """An object could not be fetched in time; the message is upstream's."""


class References:
    """The referenced objects, by who holds them (uids of pods)."""

    def __init__(
        self, client: Client, clock: Clock, nursery: Nursery, wake: Callable[[str], None]
    ) -> None:
        """Take `wake`, which is called with the uid of a pod when one of its objects changed."""
        self._client = client
        self._clock = clock
        self._nursery = nursery
        self._wake = wake
        self._followed: dict[Ref, _Followed] = {}
        self._held: dict[str, frozenset[Ref]] = {}

    async def hold(self, uid: str, refs: frozenset[Ref]) -> None:
        """Follow exactly these objects for a pod, and wait until each is known.

        Raises:
            ReferencesTimeoutError: the API server did not tell in time.

        """
        self._drop(uid, self._held.get(uid, frozenset()) - refs)
        self._held[uid] = refs
        for ref in refs:
            self._follow(ref).holders.add(uid)
        for ref in sorted(refs):
            try:
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._followed[ref].informer.wait_synced()
            except TimeoutError:
                kind = ref.plural.removesuffix("s")
                raise ReferencesTimeoutError(
                    f"failed to sync {kind} cache: timed out waiting for the condition"
                ) from None

    def release(self, uid: str) -> None:
        """Follow nothing for that pod any more."""
        self._drop(uid, self._held.pop(uid, frozenset()))

    def get(self, ref: Ref) -> Obj | None:
        """Return a held object, or None where there is none."""
        followed = self._followed.get(ref)
        return followed.informer.get(Key(ref.namespace, ref.name)) if followed else None

    def __len__(self) -> int:
        return len(self._followed)

    def _follow(self, ref: Ref) -> _Followed:
        followed = self._followed.get(ref)
        if followed is None:
            if len(self._followed) >= FOLLOWED_MAX:
                raise ReferencesTimeoutError("this node follows too many configMaps and secrets")
            selection = Selection(ref.namespace, field_selector=f"metadata.name={ref.name}")
            informer = Informer(
                Watcher(self._client, RESOURCES[ref.plural], self._clock, selection=selection)
            )
            task = self._nursery.start(f"{ref.plural} {ref.namespace}/{ref.name}", informer.run())
            followed = self._followed[ref] = _Followed(informer, task)

            def tell(_old: Item | None, _new: Item | None) -> None:
                for uid in tuple(self._followed[ref].holders if ref in self._followed else ()):
                    self._wake(uid)

            informer.subscribe(tell)
        return followed

    def _drop(self, uid: str, refs: Iterable[Ref]) -> None:
        for ref in refs:
            followed = self._followed.get(ref)
            if followed is None:
                continue
            followed.holders.discard(uid)
            if not followed.holders:
                del self._followed[ref]
                followed.task.cancel()
