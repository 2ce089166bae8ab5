"""A list is a join of cached bytes; what a page leaves out, its continue token names.

The first page is as new as the cache. A later page shows the revision of the first: from the cache
where nothing of the kind has changed since, else from the history in the datastore.
"""

import base64
import binascii
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from minikube_py.api.errors import BadRequestError, ExpiredError, ServerTimeoutError, StatusError
from minikube_py.api.go_json import syntax_error
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.api.patch.errors import go_type
from minikube_py.api.resource import Resource
from minikube_py.datastore.kv import CompactedError, FutureRevisionError
from minikube_py.server.apiserver.parameters import ListOptions
from minikube_py.server.registry.cache import KindCache
from minikube_py.server.registry.store import Store


@dataclass(frozen=True)
class Listing:
    """One page of a list."""

    items: Sequence[Item]
    revision: int
    continue_: str = ""
    remaining: int = field(default=0)

    def document(self, resource: Resource) -> Obj:
        """Return the list as a document, with all its objects parsed."""
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(self.revision)},
            "items": [item.obj for item in self.items],
        }


@dataclass(frozen=True)
class Place:
    """Where a list goes on: after which key, at which revision (-1: the newest)."""

    revision: int
    start: str

    def token(self) -> str:
        """Return the opaque text for the client."""
        body = orjson.dumps({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.start})
        return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def place_of(token: str) -> Place:
    """Read a continue token; raises BadRequestError."""
    try:
        body = base64.b64decode(_padded(token), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_token(_base64_error(token)) from error
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _bad_token(syntax_error(body) or str(error)) from error
    return _place(read)


def _place(read: Any) -> Place:
    if not isinstance(read, dict):
        what = f"json: cannot unmarshal {go_type(read)} into Go value of type storage.continueToken"
        raise _bad_token(what)
    for name, kind, wanted in (
        ("v", str, "string"),
        ("rv", int, "int64"),
        ("start", str, "string"),
    ):
        if not isinstance(read.get(name, kind()), kind):
            given = go_type(read[name])
            raise _bad_token(
                f"json: cannot unmarshal {given} into Go struct field continueToken.{name} "
                f"of type {wanted}"
            )
    version, revision, start = read.get("v", ""), read.get("rv", 0), read.get("start", "")
    if version != "meta.k8s.io/v1":
        raise _bad_token(f"server does not recognize this encoded version {version}")
    if not revision:
        raise _bad_token("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not start:
        raise _bad_token("encoded start key empty (version meta.k8s.io/v1)")
    if posixpath.normpath(f"/{start.removeprefix('/')}") != f"/{start.removeprefix('/')}":
        raise _bad_token(start)
    return Place(revision, start)


def _padded(token: str) -> bytes:
    return token.encode(errors="replace") + b"=" * (-len(token) % 4)


def _base64_error(token: str) -> str:
    """Name the place of the first byte that is no base64, as Go's decoder does."""
    bad = next(
        (n for n, c in enumerate(token) if not ((c.isalnum() and c.isascii()) or c in "-_")), None
    )
    return f"illegal base64 data at input byte {len(token) - 1 if bad is None else bad}"


_INVALID = "invalid continue token: continue key is not valid"


def _bad_token(why: str) -> BadRequestError:
    return BadRequestError(f"{_INVALID}: {why}")


async def list_items(
    store: Store, resource: Resource, namespace: str, options: ListOptions
) -> Listing:
    """Return the page that the options ask for, in the version of the resource."""
    await store.fresh(resource)
    kind = store.kind(resource)
    if options.resource_version == "0" and options.match != "Exact":
        options = replace(options, limit=0)  # upstream's cache serves "any" without pages
    if options.continue_:
        if options.resource_version not in ("", "0"):
            raise BadRequestError("specifying resource version is not allowed when using continue")
        place = place_of(options.continue_)
    else:
        place = Place(await _first_revision(store, options), "")
    if place.revision < 0 or place.revision >= kind.revision:
        await _check_kept(store, kind, options, place)
        shown = store.cache.revision if place.revision < 0 else place.revision
        return _page(store, resource, kind, namespace, options, Place(shown, place.start))
    return await _old_page(store, resource, kind, namespace, options, place)


async def _check_kept(store: Store, kind: KindCache, options: ListOptions, place: Place) -> None:
    """Raise ExpiredError for a state that the history no longer holds, although it is today's.

    A client that goes on after that learns that time has passed, whichever kind it reads.
    """
    if 0 <= place.revision < store.cache.revision:
        try:
            await store.backend.list(kind.prefix, limit=1, revision=place.revision)
        except CompactedError as error:
            raise _expired(place, continued=bool(options.continue_)) from error


async def _first_revision(store: Store, options: ListOptions) -> int:
    try:
        asked = options.revision
    except StatusError as error:
        raise BadRequestError(f"invalid resource version: {error}") from error
    check_reached(store, asked)
    # A limit and a revision without a match mean that very revision: upstream's legacy.
    exact = options.match == "Exact" or (not options.match and options.limit > 0 and asked)
    return asked if exact else store.cache.revision


def check_reached(store: Store, revision: int) -> None:
    """Raise ServerTimeoutError for a revision that is still to come."""
    if revision > store.cache.revision:
        raise ServerTimeoutError(
            f"Timeout: Too large resource version: {revision}, current: {store.cache.revision}",
            causes=[{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            retry_after_seconds=1,
        )


def _page(
    store: Store,
    resource: Resource,
    kind: KindCache,
    namespace: str,
    options: ListOptions,
    place: Place,
) -> Listing:
    """Return a page of the present state."""
    chosen, last = _choose(kind.after(place.start, namespace), options)
    items = [store.served(resource, item) for item in chosen]
    if last is None:
        return Listing(items, place.revision)
    remaining = kind.count_after(last, namespace) if options.selection.everything else 0
    if options.selection.everything and not remaining:
        return Listing(items, place.revision)
    return Listing(items, place.revision, Place(place.revision, last).token(), remaining)


async def _old_page(
    store: Store,
    resource: Resource,
    kind: KindCache,
    namespace: str,
    options: ListOptions,
    place: Place,
) -> Listing:
    """Return a page of a state of the past, from the datastore."""
    prefix = f"{kind.prefix}{namespace}/" if namespace else kind.prefix
    try:
        page = await store.backend.list(
            prefix,
            after=f"{kind.prefix}{place.start}" if place.start else "",
            revision=place.revision,
        )
    except CompactedError as error:
        raise _expired(place, continued=bool(options.continue_)) from error
    except FutureRevisionError as error:
        raise BadRequestError(str(error)) from error
    base = store.base(resource)
    stored = [base.item_of(kv.value, kv.revision) for kv in page.items]
    items = await store.shown(resource, stored)
    chosen, last = _choose(items, options)
    if last is not None and str(items[-1].key) == last:
        last = None
    if last is None:
        return Listing(chosen, place.revision)
    rest = [str(item.key) for item in items].index(last) + 1
    remaining = len(items) - rest if options.selection.everything else 0
    return Listing(chosen, place.revision, Place(place.revision, last).token(), remaining)


def _choose(items: Iterable[Item], options: ListOptions) -> tuple[list[Item], str | None]:
    """Return the items of a page, and the last key where the limit cut it off."""
    matches, everything = options.selection.matches, options.selection.everything
    chosen: list[Item] = []
    for item in items:
        if everything or matches(item):
            chosen.append(item)
            if options.limit and len(chosen) == options.limit:
                return chosen, str(item.key)
    return chosen, None


def _expired(place: Place, *, continued: bool) -> ExpiredError:
    if not continued:
        return ExpiredError(
            "The resourceVersion for the provided list is too old.",
        )
    error = ExpiredError(
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list.",
    )
    error.metadata = {"continue": Place(-1, place.start).token()}
    return error
