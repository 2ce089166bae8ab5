"""Ranges: what a client asks for, found in a backend whose lists are prefixes.

The ranges of Kubernetes and nearly all of etcdctl are prefixes, single keys, and the rest of a
prefix after a key: each is one list of the backend. Others are read by the prefix that all their
keys have in common, and cut.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.datastore.face.keys import OWN, Span, is_own
from minikube_py.datastore.kv import Backend, KeyValue

Request = Mapping[str, Any]
PAGE_KEYS = 2_000
"""Keys that are read at a time where everything in a span is wanted."""
SORT_KEYS: Mapping[str, Callable[[KeyValue], Any]] = {
    "KEY": lambda kv: kv.key,
    "VERSION": lambda kv: kv.version,
    "CREATE": lambda kv: kv.create_revision,
    "MOD": lambda kv: kv.revision,
    "VALUE": lambda kv: kv.value,
}
BOUNDS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")


class Found(NamedTuple):
    """Keys of a span, how many there are in it, and at which revision that was."""

    items: Sequence[KeyValue]
    total: int
    revision: int


class Selection(NamedTuple):
    """What a range answers."""

    items: Sequence[KeyValue]
    more: bool
    total: int


async def read_key(backend: Backend, key: str, revision: int = 0) -> Found:
    """Return one key as it was at a revision (0: now, and which revision that is)."""
    if not revision:
        revision = await backend.revision()
        found = await backend.get(key)
        if found is not None:
            return Found((found,), 1, max(revision, found.revision))
    # It is not there now; whether it was at that revision the snapshot says.
    page = await backend.list(key, limit=1, revision=revision)
    items = tuple(item for item in page.items if item.key == key)
    return Found(items, len(items), page.revision)


async def read(backend: Backend, span: Span, *, limit: int = 0, revision: int = 0) -> Found:
    """Return the keys of a span as they were at a revision (0: now), at most `limit` (0: all)."""
    if span.is_empty:
        return await read_key(backend, f"{OWN}nothing", revision)
    if span.is_single:
        found = await read_key(backend, span.first, revision)
        return Found((), 0, found.revision) if is_own(span.first) else found
    prefix, first = span.prefix, Found((), 0, revision)
    after = "" if span.first <= prefix else span.first.removesuffix("\0")
    if after == span.first:  # the backend lists what comes after a key; this one is wanted, too
        first = await read_key(backend, after, revision)
    whole = not span.ends_with_prefix(prefix) or span.has_own
    rest = await _after(backend, prefix, after, first.revision, 0 if whole else limit)
    items = (*first.items, *rest.items)
    if whole:
        items = tuple(kv for kv in items if span.contains(kv.key) and not is_own(kv.key))
        return Found(items[:limit] if limit else items, len(items), rest.revision)
    return Found(items[:limit] if limit else items, first.total + rest.total, rest.revision)


async def _after(backend: Backend, prefix: str, after: str, revision: int, limit: int) -> Found:
    page = await backend.list(prefix, after=after, limit=limit or PAGE_KEYS, revision=revision)
    items, count = list(page.items), len(page.items) + page.remaining
    while page.more and not limit:
        at, last = page.revision, items[-1].key
        page = await backend.list(prefix, after=last, limit=PAGE_KEYS, revision=at)
        items += page.items
    return Found(items, count, page.revision)


def limit_of(request: Request) -> int:
    """Return how many keys have to be read for a request; 0 for all of its span."""
    if request.get("count_only"):
        return 1
    if _order(request) or any(request.get(bound) for bound in BOUNDS):
        return 0
    return max(int(request.get("limit", 0)), 0)


def select(found: Found, request: Request) -> Selection:
    """Return what a request wants of the keys in its span (etcdserver/apply.go, Range)."""
    if request.get("count_only"):
        return Selection((), more=False, total=found.total)
    items = [kv for kv in found.items if _is_inside(kv, request)]
    order, limit = _order(request), request.get("limit", 0)
    if order:
        key = SORT_KEYS[request.get("sort_target", "KEY")]
        items.sort(key=key, reverse=order == "DESCEND")
    more = 0 < limit < (len(items) if limit_of(request) == 0 else found.total)
    items = items[:limit] if limit > 0 else items
    if request.get("keys_only"):
        items = [kv._replace(value=b"") for kv in items]
    return Selection(items, more, found.total)


def _order(request: Request) -> str:
    """Return how to sort; empty where the keys' own order will do."""
    order: str = request.get("sort_order", "NONE")
    by_key = request.get("sort_target", "KEY") == "KEY"
    if by_key:
        return order if order == "DESCEND" else ""
    return "ASCEND" if order == "NONE" else order


def _is_inside(kv: KeyValue, request: Request) -> bool:
    least_mod, most_mod, least_create, most_create = (request.get(bound, 0) for bound in BOUNDS)
    return (
        kv.revision >= least_mod
        and (not most_mod or kv.revision <= most_mod)
        and kv.create_revision >= least_create
        and (not most_create or kv.create_revision <= most_create)
    )
