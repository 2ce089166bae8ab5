"""Carries out plans, and returns only when the informers have seen what was written.

A run of creations or deletions of one kind goes out in batches that double (1, 2, 4, ...): where
something is broken, one call fails and not five hundred; where all is well, hundreds go at once.
Upstream's replica set controller calls this a slow start.
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from minikube_py.api.errors import NotFoundError, ServiceUnavailableError, StatusError
from minikube_py.api.object import Key, Obj
from minikube_py.client.actions import Action, Create, Delete, Emit, Patch, Update, Write
from minikube_py.client.events import Recorder
from minikube_py.client.informer import Informer, Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.tasks import together

log = logging.getLogger(__name__)
BATCH_MAX = 128
TERMINATING = "NamespaceTerminating"


class Written(NamedTuple):
    """What a write gave, and when a cache shows it."""

    obj: Obj | None
    seen: Callable[[Informer], bool]
    write: Write


class Executor:
    """Executes actions with one identity."""

    def __init__(self, client: Client, informers: Informers, events: Recorder) -> None:
        self._client = client
        self._informers = informers
        self._events = events

    async def apply(self, actions: Iterable[Action]) -> list[Obj]:
        """Carry out a plan in order; return what the server answered to each write.

        The first batch with an error is the last: the error is raised after what had been
        written before it was seen.
        """
        written: list[Written] = []
        try:
            for batch in _batches(actions):
                if isinstance(batch, Emit):
                    self._events.record(batch.obj, batch.type, batch.reason, batch.message)
                    continue
                outcomes = await together(self._execute(action) for action in batch)
                written += (one for one in outcomes if isinstance(one, Written))
                for outcome in outcomes:
                    if isinstance(outcome, Exception):
                        raise outcome
        finally:
            await self._see(written)
        return [one.obj for one in written if one.obj is not None]

    async def _see(self, written: Iterable[Written]) -> None:
        for _, seen, write in written:
            informer = self._informers.started(write.resource)
            if informer is None:
                continue
            try:
                await informer.wait_until(_bound(seen, informer))
            except TimeoutError:
                raise ServiceUnavailableError(
                    f"the cache of {write.resource.group_resource} does not show what was written"
                ) from None

    async def _execute(self, action: Write) -> Written:
        match action:
            case Create():
                return await self._create(action)
            case Delete():
                return await self._delete(action)
            case Update():
                obj = await self._client.update(
                    action.resource, action.obj, subresource=action.subresource
                )
            case Patch():
                return await self._patch(action)
        return Written(obj, _reached(obj), action)

    async def _patch(self, action: Patch) -> Written:
        try:
            obj = await self._client.patch(
                action.resource,
                action.key.name,
                action.patch,
                action.key.namespace,
                patch_type=action.patch_type,
                subresource=action.subresource,
            )
        except NotFoundError:
            if not action.missing_ok:
                raise
            return Written(None, lambda _: True, action)
        return Written(obj, _reached(obj), action)

    async def _create(self, action: Create) -> Written:
        try:
            obj = await self._client.create(
                action.resource, action.obj, subresource=action.subresource, name=action.name
            )
        except StatusError as error:
            if action.announce is not None and not is_terminating(error):
                self._tell(action.announce, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        if action.announce is not None:
            kind, name = action.resource.singular_name, obj["metadata"]["name"]
            self._tell(action.announce, "Normal", "SuccessfulCreate", f"Created {kind}: {name}")
        return Written(obj, _reached(obj), action)

    async def _delete(self, action: Delete) -> Written:
        preconditions = {**(action.options.get("preconditions") or {}), "uid": action.uid}
        options = {**action.options, "preconditions": preconditions}
        obj = None
        try:
            obj = await self._client.delete(
                action.resource, action.key.name, action.key.namespace, options=options
            )
        except NotFoundError:
            log.debug("already deleted resource=%s key=%s", action.resource.plural, action.key)
        except StatusError as error:
            if action.announce is not None:
                self._tell(action.announce, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        else:
            if action.announce is not None:
                text = f"Deleted {action.resource.singular_name}: {action.key.name}"
                self._tell(action.announce, "Normal", "SuccessfulDelete", text)
        return Written(obj, _gone(action), action)

    def _tell(self, obj: Obj, kind: str, reason: str, message: str) -> None:
        self._events.record(obj, "Warning" if kind == "Warning" else "Normal", reason, message)


def is_terminating(error: StatusError) -> bool:
    """Tell whether a creation was refused because its namespace is going away."""
    causes: Iterable[Obj] = error.details.get("causes") or ()
    return any(cause.get("reason") == TERMINATING for cause in causes)


def _batches(actions: Iterable[Action]) -> Iterator[Emit | tuple[Write, ...]]:
    """Yield events one by one and writes in doubling batches of like ones."""
    for _, run in itertools.groupby(actions, key=_likeness):
        size = 1
        pending: list[Write] = []
        for action in run:
            if isinstance(action, Emit):
                yield action
                continue
            pending.append(action)
            if len(pending) >= size:
                yield tuple(pending)
                pending = []
                size = min(size * 2, BATCH_MAX) if isinstance(action, Create | Delete) else 1
        if pending:
            yield tuple(pending)


def _likeness(action: Action) -> object:
    return (type(action), None if isinstance(action, Emit) else id(action.resource))


def _bound(seen: Callable[[Informer], bool], informer: Informer) -> Callable[[], bool]:
    return lambda: seen(informer)


def _reached(obj: Obj) -> Callable[[Informer], bool]:
    """Return the test whether a cache holds the object as it was written, or that it is gone.

    A write that takes the last finalizer off removes the object.
    """
    metadata = obj.get("metadata", {})
    version = metadata.get("resourceVersion", "")
    revision = int(version) if version.isdigit() else 0
    key = Key(metadata.get("namespace", ""), metadata.get("name", ""))

    def seen(informer: Informer) -> bool:
        if informer.revision >= revision:
            return True
        item = informer.item(key)
        gone = item is None or item.uid != metadata.get("uid")
        return gone and metadata.get("deletionTimestamp") is not None

    return seen


def _gone(action: Delete) -> Callable[[Informer], bool]:
    """Return the test whether a cache no longer holds the object, or holds it as deleted."""

    def seen(informer: Informer) -> bool:
        item = informer.item(action.key)
        return item is None or item.uid != action.uid or item.deleting

    return seen
