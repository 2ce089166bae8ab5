"""Keeps the cluster as the manifests folder says.

A look reads the folder, applies what has changed, and prunes what is wanted no more. It may end at
any step: the next one, of this process or another, finds in the objects what was done.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, uid_of
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.client.events import Recorder
from minikube_py.client.everything import is_stored
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.inotify import Inotify
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.manifests.files import SETTLED_SECONDS, Document, Folder, identity, read
from minikube_py.server.manifests.plan import (
    FILE,
    MANAGER,
    Live,
    Target,
    configuration,
    duplicates,
    is_adopted,
    is_of,
    is_ours,
    surplus,
    target_of,
    was_made_by_others,
)

log = logging.getLogger(__name__)
USER = "system:kpy-manifests"
RETRY = Backoff(first_seconds=0.5, max_seconds=60.0)
BACKGROUND = {"propagationPolicy": "Background"}
PLACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
"""What events are about that are about no object."""
Identity = tuple[str, str, str]


class Manifests:
    """The folder and what of it is in the cluster."""

    def __init__(
        self, root: Path, disabled: Iterable[str], client: Client, scheme: Scheme, clock: Clock
    ) -> None:
        self.root = root
        self._disabled = tuple(disabled)
        self._client = client
        self._scheme = scheme
        self._clock = clock
        self._events = Recorder(client, MANAGER, clock)
        self._id = ""
        self._applied: dict[Identity, Document] = {}
        self._pruned = False
        """Whether nothing is left in the cluster that `_applied` does not know."""
        self._failures = 0
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Follow the folder until cancelled; makes it where it is not there."""
        make_dir(self.root, 0o700)
        async with Nursery("manifests") as nursery:
            nursery.start("events", restarting("manifest events", self._events.run))
            with contextlib.closing(Inotify()) as notify:
                while True:
                    await self._follow(notify)

    async def _follow(self, notify: Inotify) -> None:
        """Look after every change, until there are other folders than when this began."""
        changed = asyncio.Event()
        watched = (await self._read()).folders
        with contextlib.ExitStack() as stack:
            for path in watched:
                with contextlib.suppress(OSError):  # it went meanwhile; the look will tell
                    stack.enter_context(notify.folder(path, changed))
            while True:
                changed.clear()
                folder, again = await self.look()
                if folder.folders != watched:
                    return
                timer = None if again is None else self._clock.call_later(again, changed.set)
                await changed.wait()
                if timer is not None:
                    timer.cancel()

    async def _read(self) -> Folder:
        now = self._clock.now().timestamp()
        if not self._id and await asyncio.to_thread(self.root.is_dir):
            self._id = await asyncio.to_thread(identity, self.root)
        return await asyncio.to_thread(read, self.root, self._disabled, now)

    async def look(self) -> tuple[Folder, float | None]:
        """Do all there is to do; return what was seen, and in how many seconds to look again."""
        folder = await self._read()
        problems: list[tuple[Obj, str]] = [
            (PLACE, f'manifest "{s.file}": {text}') for s in folder.sources for text in s.problems
        ]
        wanted, unknown = self._targets(folder)
        problems += unknown
        problems += [(d.obj, _about(d, text)) for d, text in duplicates(wanted)]
        first = dict(reversed([(target.identity, (doc, target)) for doc, target in wanted]))
        for document, target in reversed(first.values()):
            if (trouble := await self._apply(document, target)) is not None:
                problems.append((document.obj, _about(document, trouble)))
        if not folder.unseen:
            problems += await self._prune(folder, first)
        self._tell(problems)
        self._failures = self._failures + 1 if problems else 0
        waits = [RETRY.wait_seconds(self._failures)] if problems else []
        waits += [SETTLED_SECONDS] if folder.young else []
        return folder, min(waits, default=None)

    def _targets(
        self, folder: Folder
    ) -> tuple[list[tuple[Document, Target]], list[tuple[Obj, str]]]:
        """Return the objects that the files are about, and the documents of kinds not known."""
        found: list[tuple[Document, Target]] = []
        unknown: list[tuple[Obj, str]] = []
        for document in (one for source in folder.sources for one in source.documents):
            version, kind = document.obj["apiVersion"], document.obj["kind"]
            resource = self._scheme.by_kind(version, kind)
            if resource is None:
                trouble = f'no matches for kind "{kind}" in version "{version}"'
                unknown.append((document.obj, _about(document, trouble)))
            else:
                found.append((document, target_of(document, resource)))
        return found, unknown

    def _tell(self, problems: Iterable[tuple[Obj, str]]) -> None:
        """Log what is wrong where it was not wrong before, and record it as events."""
        for obj, text in problems:
            if text not in self._told:
                log.error("manifest failed, it will be tried again %s", text)
            self._events.record(obj, "Warning", "ApplyManifestFailed", text)
        self._told = frozenset(text for _, text in problems)

    # --- applying -------------------------------------------------------------------------------

    async def _apply(self, document: Document, target: Target) -> str | None:
        """Apply one document; return why it cannot be, or None."""
        if self._applied.get(target.identity) == document:
            return None
        try:
            before = await self._get(target)
            adopted = before is not None and (not is_ours(before) or is_adopted(before))
            after = await self._configure(document, target, adopted=adopted)
            if before is None and was_made_by_others(after):
                await self._configure(document, target, adopted=True)
        except StatusError as error:
            return str(error)
        self._applied[target.identity] = document
        if before is None or before["metadata"]["resourceVersion"] != _version(after):
            log.info("manifest applied file=%s document=%d", document.file, document.number)
        return None

    async def _configure(self, document: Document, target: Target, *, adopted: bool) -> Obj:
        wanted = configuration(document, target.namespace, self._id, adopted=adopted)
        return await self._patch(target, wanted)

    async def _get(self, target: Target) -> Obj | None:
        try:
            return await self._client.get(target.resource, target.name, target.namespace)
        except NotFoundError:
            return None

    async def _patch(self, target: Target, configured: Obj) -> Obj:
        return await self._client.patch(
            target.resource,
            target.name,
            configured,
            target.namespace,
            patch_type="apply",
            field_manager=MANAGER,
            force=True,
        )

    # --- pruning --------------------------------------------------------------------------------

    async def _prune(
        self, folder: Folder, wanted: dict[Identity, tuple[Document, Target]]
    ) -> list[tuple[Obj, str]]:
        """Take out of the cluster what is wanted no more; return what cannot be."""
        if self._pruned and self._applied.keys() <= wanted.keys():
            return []
        problems: list[tuple[Obj, str]] = []
        for live in surplus(folder, wanted, await self._live()):
            try:
                await self._remove(live)
            except StatusError as error:
                problems.append((live.obj, f"pruning of {live.target.identity}: {error}"))
            else:
                self._applied.pop(live.target.identity, None)
        self._pruned = not problems
        return problems

    async def _live(self) -> list[Live]:
        """Return all objects that we have applied, whenever and of whatever kind."""
        found: list[Live] = []
        for resource in self._kinds():
            try:
                listed = await self._client.list(resource, label_selector=FILE)
            except StatusError:
                continue  # a custom kind that went meanwhile
            found += (_live(resource, item) for item in listed.items if is_of(item.obj, self._id))
        return found

    def _kinds(self) -> Iterable[Resource]:
        """Return every kind once, whatever versions it has."""
        kinds = {r.group_resource: r for r in self._scheme if is_stored(r) and "delete" in r.verbs}
        return kinds.values()

    async def _remove(self, live: Live) -> None:
        target, head = live.target, live.obj
        if is_adopted(live.obj):
            metadata = {"name": target.name}
            if target.namespace:
                metadata["namespace"] = target.namespace
            empty = {"apiVersion": head["apiVersion"], "kind": head["kind"], "metadata": metadata}
            await self._patch(target, empty)
        else:
            options: dict[str, Any] = {**BACKGROUND, "preconditions": {"uid": uid_of(live.obj)}}
            with contextlib.suppress(NotFoundError):
                await self._client.delete(
                    target.resource, target.name, target.namespace, options=options
                )
        log.info("manifest pruned kind=%s object=%s/%s", *target.identity)


def _live(resource: Resource, item: Item) -> Live:
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return Live(Target(resource, item.key.namespace, item.key.name), {**item.obj, **head})


def _about(document: Document, trouble: str) -> str:
    return f'manifest "{document.file}", document {document.number}: {trouble}'


def _version(obj: Obj) -> str:
    return str(obj["metadata"]["resourceVersion"])
