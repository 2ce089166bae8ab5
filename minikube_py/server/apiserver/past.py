"""How things were: the history of an object, and GET and LIST of a moment of the past.

Both are paths of kpy's own before the path of the resource itself, `/kpy.io/history/api/v1/...`
and `/kpy.io/at/api/v1/...`: so who may see what is decided as for the same request today, and the
answer has every form that a request of today can ask for. What the API itself calls too old
(410 after five minutes) stays so; these paths read the datastore's history, which lies behind it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from minikube_py.api import times
from minikube_py.api.core import SECRETS
from minikube_py.api.errors import (
    BadRequestError,
    ExpiredError,
    MethodNotAllowedError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
)
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.api.resource import Resource
from minikube_py.datastore.history import Historian, Written
from minikube_py.datastore.kv import CompactedError, DatastoreError, KeyValue
from minikube_py.lib.clock import Clock
from minikube_py.server.apiserver.api import NOT_SUPPORTED, Answer
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.listing import Listing, Place, place_of
from minikube_py.server.apiserver.masking import Mask
from minikube_py.server.apiserver.parameters import ListOptions, integer, list_options
from minikube_py.server.apiserver.request import HISTORY, is_true
from minikube_py.server.registry.refusals import not_found
from minikube_py.server.registry.store import Store

PAGE_VERSIONS_MAX = 100
"""Versions of one answer; who wants more asks for those before the last."""
PAGE_ITEMS_MAX = 1000
"""Objects of one answer of a moment of the past."""


class Past:
    """Answers about the past."""

    def __init__(self, store: Store, history: Historian, clock: Clock) -> None:
        self._store = store
        self._history = history
        self._clock = clock

    async def answer(
        self, call: Call, path: str, query: Mapping[str, str]
    ) -> tuple[Answer | Listing, datetime | None]:
        """Return what a request gets, and the moment that it sees.

        Raises:
            StatusError: it asks for something else than to read an object or a list.

        """
        if call.subresource or call.verb not in ("get", "list"):
            raise MethodNotAllowedError(NOT_SUPPORTED)
        if path.startswith(HISTORY):
            return Answer(200, document=await self.versions(call, query)), None
        if call.verb == "get":
            item, revision = await self.get(call, query)
            return Answer(200, item=item), await self.time_of(revision)
        listing = await self.list(call, query, list_options(call.resource, query))
        return listing, await self.time_of(listing.revision)

    async def moment(self, resource: Resource, query: Mapping[str, str]) -> int:
        """Return the revision that a request asks about, by number, time or how long ago.

        Raises:
            BadRequestError: it names none, or one that is still to come.
            ExpiredError: the history does not go back that far.

        """
        oldest = await self._history.oldest(self._store.base(resource).prefix)
        if "revision" in query:
            revision = integer(query, "revision")
        else:
            at = _time(query, self._clock.now())
            revision = await self._history.revision_at(at)
            if revision < max(oldest, 1):
                asked = _shown(at)
                raise ExpiredError(f"{asked} is {await self._refusal(resource, oldest)}")
        if revision > self._store.cache.revision:
            newest = self._store.cache.revision
            raise BadRequestError(f"revision {revision} is to come, the newest is {newest}")
        if revision < max(oldest, 1):
            raise ExpiredError(f"revision {revision} is {await self._refusal(resource, oldest)}")
        return revision

    async def _refusal(self, resource: Resource, oldest: int) -> str:
        since = await self._history.time_of(oldest) if oldest else 0.0
        when = f" ({_shown(since)})" if since else ""
        return (
            f"before the history that is kept of {resource.group_resource}: "
            f"the oldest revision that can be shown is {max(oldest, 1)}{when}"
        )

    async def time_of(self, revision: int) -> datetime:
        """Return when a revision was there; now where that is not known."""
        at = await self._history.time_of(revision)
        return datetime.fromtimestamp(at, UTC) if at else self._clock.now()

    async def get(self, call: Call, query: Mapping[str, str]) -> tuple[Item, int]:
        """Return an object as it was, and the revision that shows it."""
        with _answered():
            revision = await self.moment(call.resource, query)
            key = f"{self._prefix(call.resource)}{Key(call.namespace, call.name)}"
            found = await self._history.versions(key, before=revision + 1, limit=1)
        if not found or found[0].deleted:
            error = not_found(call.resource, call.name)
            raise NotFoundError(f"{error} at revision {revision}", details=error.details)
        (item,) = await self._items(call.resource, [_key_value(found[0])])
        return item, revision

    async def list(self, call: Call, query: Mapping[str, str], options: ListOptions) -> Listing:
        """Return a page of a list as it was."""
        place = place_of(options.continue_) if options.continue_ else None
        if place is not None:
            query = {"revision": str(place.revision)}
        prefix = self._prefix(call.resource)
        limit = min(options.limit or PAGE_ITEMS_MAX, PAGE_ITEMS_MAX)
        with _answered():
            revision = await self.moment(call.resource, query)
            page = await self._history.past(
                f"{prefix}{call.namespace}/" if call.namespace else prefix,
                revision=revision,
                after=f"{prefix}{place.start}" if place is not None else "",
                limit=limit,
            )
        items = await self._items(call.resource, page.items)
        chosen = [item for item in items if options.selection.matches(item)]
        if not page.more:
            return Listing(chosen, revision)
        last = page.items[-1].key[len(prefix) :]
        remaining = page.remaining if options.selection.everything else 0
        return Listing(chosen, revision, Place(revision, last).token(), remaining)

    async def versions(self, call: Call, query: Mapping[str, str]) -> Obj:
        """Return the writes of an object, newest first."""
        if not call.name:
            raise BadRequestError("the history is that of one object; name it")
        prefix = self._prefix(call.resource)
        key = f"{prefix}{Key(call.namespace, call.name)}"
        asked = integer(query, "limit") or PAGE_VERSIONS_MAX
        limit = min(max(asked, 1), PAGE_VERSIONS_MAX)
        with _answered():
            before = integer(query, "before")
            found = await self._history.versions(key, before=before, limit=limit + 1)
            oldest = await self._history.oldest(prefix)
            since = await self._history.time_of(oldest)
        if not found and not before:
            error = not_found(call.resource, call.name)
            why = f"{error}, neither now nor in the history that is kept since revision {oldest}"
            raise NotFoundError(why, details=error.details)
        hidden = call.resource is SECRETS and not is_true(query.get("values"))
        return {
            "kind": "History",
            "apiVersion": "kpy.io/v1",
            "metadata": {
                "oldestRevision": str(oldest),
                "oldestTime": _shown(since) if since else "",
                "continue": str(found[limit - 1].revision) if len(found) > limit else "",
            },
            "items": await self._described(
                call.resource, found[:limit], Mask() if hidden else None
            ),
        }

    async def _described(
        self, resource: Resource, found: Sequence[Written], mask: Mask | None
    ) -> tuple[Obj, ...]:
        shown: Any = []
        for one in found:
            described = describe(one)
            if one.value is not None:
                try:
                    (item,) = await self._items(resource, [_key_value(one)])
                    described["object"] = mask.hide(item.obj) if mask is not None else item.obj
                except StatusError as error:  # a webhook that converts what is no more
                    described["error"] = str(error)
            elif not one.deleted:
                described["error"] = "the key that it was encrypted with is gone"
            shown.append(described)
        return tuple(shown)

    def _prefix(self, resource: Resource) -> str:
        return self._store.base(resource).prefix

    async def _items(self, resource: Resource, found: Sequence[KeyValue]) -> Sequence[Item]:
        base = self._store.base(resource)
        stored = [base.item_of(kv.value, kv.revision) for kv in found if kv.value]
        return await self._store.shown(resource, stored)


def describe(one: Written) -> dict[str, Any]:
    """Return what is known of a write beside its object."""
    verb, _, user = one.author.partition(" ")
    operation, _, subresource = verb.partition("/")
    made = one.revision == one.create_revision
    return {
        "revision": str(one.revision),
        "time": _shown(one.at) if one.at else "",
        "event": "Deleted" if one.deleted else "Created" if made else "Updated",
        "verb": operation,
        "subresource": subresource,
        "user": user,
    }


def _key_value(one: Written) -> KeyValue:
    return KeyValue(one.key, one.value or b"", one.revision, one.create_revision)


def _shown(at: float) -> str:
    return times.format_seconds(datetime.fromtimestamp(at, UTC))


def _time(query: Mapping[str, str], now: datetime) -> float:
    """Return the moment that a request names, in seconds of the epoch."""
    try:
        if "time" in query:
            return times.parse(query["time"]).timestamp()
        return now.timestamp() - times.parse_duration(query.get("ago", ""))
    except ValueError as error:
        raise BadRequestError(
            f"which moment? Pass revision=NUMBER, time=RFC3339 or ago=DURATION ({error})"
        ) from error


class _answered:  # noqa: N801 -- reads as a statement
    """Makes what the datastore refuses an answer of the API."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, CompactedError):
            raise ExpiredError(str(error)) from error
        if isinstance(error, DatastoreError):
            raise ServiceUnavailableError(f"the datastore failed: {error}") from error
