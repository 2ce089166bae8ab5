"""Transactions, of which a put and a delete are the smallest.

A transaction is tried: everything it reads comes from one snapshot, what it changes is collected,
and the backend carries that out together on the condition that nothing that was read has changed
since. Where something has, it is tried anew. Its writes get revisions that follow each other, where
etcd gives them one: the header shows the last of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.datastore.face.checks import check_transaction
from minikube_py.datastore.face.keys import OWN, Span, is_own, span, text_of
from minikube_py.datastore.face.reading import (
    Found,
    Selection,
    limit_of,
    read,
    read_key,
    select,
)
from minikube_py.datastore.face.refusals import (
    DUPLICATE_KEY,
    KEY_NOT_FOUND,
    LEASE_NOT_FOUND,
    TIMEOUT,
    TOO_MANY_OPS,
    RefusedError,
)
from minikube_py.datastore.kv import (
    Backend,
    Change,
    CompactedError,
    KeyValue,
    RevisionMismatchError,
    Unchanged,
)

Message = Mapping[str, Any]
Answer = Callable[[int], dict[str, Any]]
"""(first) -> the response, where `first` is the revision that the first change got."""
ATTEMPTS_MAX = 64
"""How often a transaction is tried that others get in the way of."""
CHANGES_MAX = 2_000
"""Keys that one transaction changes at most; they are published in one go."""
PENDING = 1 << 62
"""Revisions from here on are those of changes that are not carried out yet, by their number."""
LEASES = f"{OWN}leases/"


def lease_key(lease: int) -> str:
    """Return the key under which a lease is kept."""
    return f"{LEASES}{lease & (1 << 64) - 1:016x}"


def wire(kv: KeyValue, first: int = 0) -> dict[str, Any]:
    """Return a key as clients get it."""
    return {
        "key": kv.key.encode(),
        "create_revision": _settled(kv.create_revision, first),
        "mod_revision": _settled(kv.revision, first),
        "version": kv.version,
        "value": kv.value,
        "lease": kv.lease,
    }


def _settled(revision: int, first: int) -> int:
    return revision - PENDING + first if revision >= PENDING else revision


class Outcome(NamedTuple):
    """What a transaction answers, and the newest revision when it was done."""

    message: dict[str, Any]
    revision: int


class Attempt:
    """One try: what it has read and what it is to change."""

    def __init__(self, backend: Backend, revision: int) -> None:
        self._backend = backend
        self.revision = revision
        """The snapshot that everything is read from; 0: the key that alone matters, as it is."""
        self._known: dict[str, Found] = {}
        self._changed: dict[str, KeyValue | None] = {}
        self.changes: list[Change] = []
        self.conditions: set[Unchanged] = set()

    def at(self) -> Callable[[int], int]:
        """Return what to show as the newest revision here, when `first` is known."""
        count, revision = len(self.changes), self.revision
        return lambda first: first + count - 1 if count else revision

    async def read(self, where: Span, request: Message | None = None) -> Found:
        """Return what is in a span now, after the changes so far."""
        asked = request or {}
        revision = asked.get("revision", 0)
        changed = [key for key in self._changed if where.contains(key)]
        limit = 0 if changed or request is None else limit_of(asked)
        if revision > 0:
            return await read(self._backend, where, limit=limit_of(asked), revision=revision)
        found = await self._snapshot(where, limit)
        if not changed:
            return found
        items = {kv.key: kv for kv in found.items}
        for key in changed:
            now = self._changed[key]
            items.pop(key, None)
            if now is not None:
                items[key] = now
        ordered = [items[key] for key in sorted(items)]
        return Found(ordered, len(ordered), found.revision)

    async def _snapshot(self, where: Span, limit: int) -> Found:
        if where.is_single:
            return await self.key(where.first)
        self.conditions.add(Unchanged(*where, self.revision))
        return await read(self._backend, where, limit=limit, revision=self.revision)

    async def key(self, key: str) -> Found:
        """Return one key as it is in the snapshot."""
        if is_own(key) and not key.startswith(LEASES):
            return Found((), 0, self.revision)
        if (found := self._known.get(key)) is None:
            found = self._known[key] = await read_key(self._backend, key, self.revision)
            self.revision = self.revision or found.revision
            self.conditions.add(Unchanged(key, key + "\0", self.revision))
        return found

    async def check_revision(self, revision: int) -> None:
        """Refuse a snapshot that is not there any more, or not yet."""
        await read_key(self._backend, f"{OWN}nothing", revision)

    def _refuse_twice(self, key: str) -> None:
        if key in self._changed:
            raise RefusedError(DUPLICATE_KEY)

    def put(self, key: str, before: KeyValue | None, value: bytes, lease: int) -> None:
        """Write a key that is as given."""
        self._refuse_twice(key)
        mine = PENDING + len(self.changes)
        created, version = (before.create_revision, before.version) if before else (mine, 0)
        self._changed[key] = KeyValue(key, value, mine, created, lease, version + 1)
        self.changes.append(Change(key, value, before.revision if before else 0, lease))

    def delete(self, before: KeyValue) -> None:
        """Delete a key that is as given."""
        self._refuse_twice(before.key)
        self._changed[before.key] = None
        self.changes.append(Change(before.key, None, before.revision))

    async def commit(self) -> int:
        """Carry out the changes; return the first revision, 0 where nothing was changed."""
        if not self.changes:
            return 0
        if len(self.changes) > CHANGES_MAX:
            raise RefusedError(TOO_MANY_OPS)
        changed = {change.key for change in self.changes}
        conditions = [c for c in self.conditions if c.first not in changed or c.end != f"{c[0]}\0"]
        return await self._backend.write(self.changes, unchanged=conditions)


async def transact(backend: Backend, request: Message) -> Outcome:
    """Carry out a transaction; raises RefusedError and DatastoreError."""
    check_transaction(request)
    alone = is_about_one_key(request)
    for _ in range(ATTEMPTS_MAX):
        attempt = Attempt(backend, 0 if alone else await backend.revision())
        try:
            answer = await _tried(attempt, request)
            first = await attempt.commit()
        except RevisionMismatchError:
            continue
        except CompactedError as error:
            if attempt.revision == 0 or error.asked != attempt.revision:
                raise  # an old revision that the client asked for
            continue
        return Outcome(answer(first), attempt.at()(first) or await backend.revision())
    raise RefusedError(TIMEOUT)


def is_about_one_key(request: Message) -> bool:
    """Tell whether everything in a transaction is about the same single key.

    So are those of Kubernetes. The key is read as it is and needs no snapshot.
    """
    spans = {*_spans(request)}
    if len(spans) != 1:
        return False
    only = spans.pop()
    return only.is_single and not is_own(only.first)


def _spans(request: Message) -> Iterator[Span]:
    for compare in request.get("compare", ()):
        yield _span(compare)
    for operation in (*request.get("success", ()), *request.get("failure", ())):
        ((kind, inner),) = operation.items()
        if kind == "request_txn":
            yield from _spans(inner)
            continue
        if inner.get("lease") or inner.get("revision"):
            yield Span("", "")  # reads more than the key
        yield _span(inner)


def _span(message: Message) -> Span:
    return span(message.get("key", b""), message.get("range_end", b""))


async def _tried(attempt: Attempt, request: Message) -> Answer:
    path = await _path(attempt, request)
    await _check(attempt, request, list(path))
    return await _txn(attempt, request, iter(path))


# --- comparing ----------------------------------------------------------------------------------

FIELDS = {"VERSION": "version", "CREATE": "create_revision", "MOD": "mod_revision"}
RESULTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "EQUAL": lambda found, wanted: bool(found == wanted),
    "NOT_EQUAL": lambda found, wanted: bool(found != wanted),
    "GREATER": lambda found, wanted: bool(found > wanted),
    "LESS": lambda found, wanted: bool(found < wanted),
}
ABSENT = KeyValue("", b"", 0, 0, 0, 0)
"""What a key that is not there is compared as."""


async def _path(attempt: Attempt, request: Message) -> list[bool]:
    """Return which way is taken, here and in the transactions inside, in their order.

    All are decided before anything is changed.
    """
    taken: list[bool] = []

    async def decide(request: Message) -> None:
        compares = request.get("compare", ())
        holds = all([await _holds(attempt, compare) for compare in compares])
        taken.append(holds)
        for operation in branch(request, holds=holds):
            if "request_txn" in operation:
                await decide(operation["request_txn"])

    await decide(request)
    return taken


def branch(request: Message, *, holds: bool) -> Sequence[Message]:
    """Return the operations of a transaction whose compares hold, or do not."""
    operations: Sequence[Message] = request.get("success" if holds else "failure", ())
    return operations


async def _holds(attempt: Attempt, compare: Message) -> bool:
    found = await attempt.read(_span(compare))
    target = compare.get("target", "VERSION")
    if not found.items and target == "VALUE":
        return False  # nothing is not equal to anything, and not unequal either
    result = RESULTS[compare.get("result", "EQUAL")]
    return all(
        result(_compared(kv, target), _wanted(compare, target)) for kv in found.items or (ABSENT,)
    )


def _compared(kv: KeyValue, target: str) -> Any:
    return {
        "VERSION": kv.version,
        "CREATE": kv.create_revision,
        "MOD": kv.revision,
        "VALUE": kv.value,
        "LEASE": kv.lease,
    }[target]


def _wanted(compare: Message, target: str) -> Any:
    field = FIELDS.get(target, target.lower())
    return compare.get(field, b"" if target == "VALUE" else 0)


# --- checks that need the state -----------------------------------------------------------------


async def _check(attempt: Attempt, request: Message, path: list[bool]) -> None:
    """Refuse a transaction of which some operation cannot be done; nothing is changed then."""
    for operation in branch(request, holds=path.pop(0)):
        ((kind, inner),) = operation.items()
        if kind == "request_txn":
            await _check(attempt, inner, path)
        elif kind == "request_put":
            await _check_put(attempt, inner)
        elif kind == "request_range" and inner.get("revision", 0) > 0:
            await attempt.check_revision(inner["revision"])


async def _check_put(attempt: Attempt, put: Message) -> None:
    if put.get("ignore_value") or put.get("ignore_lease"):
        found = await attempt.read(_span(put))
        if not found.items:
            raise RefusedError(KEY_NOT_FOUND)
    if put.get("lease"):
        lease = await attempt.key(lease_key(put["lease"]))
        if not lease.items:
            raise RefusedError(LEASE_NOT_FOUND)


# --- operations ---------------------------------------------------------------------------------


async def _txn(attempt: Attempt, request: Message, path: Iterator[bool]) -> Answer:
    holds = next(path)
    answers = []
    for operation in branch(request, holds=holds):
        ((kind, inner),) = operation.items()
        if kind == "request_txn":
            name, answer = "response_txn", await _txn(attempt, inner, path)
        else:
            name, act = OPERATIONS[kind]
            answer = await act(attempt, inner)
        answers.append((name, answer))
    return lambda first: {
        "header": {},  # etcd says the revision of the outermost transaction only
        "succeeded": holds,
        "responses": [{name: answer(first)} for name, answer in answers],
    }


async def _range(attempt: Attempt, request: Message) -> Answer:
    chosen = select(await attempt.read(_span(request), request), request)
    at = attempt.at()
    return lambda first: {"header": {"revision": at(first)}, **shown(chosen, first)}


def shown(chosen: Selection, first: int = 0) -> dict[str, Any]:
    """Return a selection as clients get it."""
    return {
        "kvs": [wire(kv, first) for kv in chosen.items],
        "more": chosen.more,
        "count": chosen.total,
    }


async def _put(attempt: Attempt, request: Message) -> Answer:
    key = text_of(request["key"])
    found = await attempt.read(Span(key, key + "\0"))
    before = found.items[0] if found.items else None
    value, lease = request.get("value", b""), request.get("lease", 0)
    if before is not None:
        value = before.value if request.get("ignore_value") else value
        lease = before.lease if request.get("ignore_lease") else lease
    attempt.put(key, before, value, lease)
    at = attempt.at()
    shows = before if request.get("prev_kv") else None
    return lambda first: {
        "header": {"revision": at(first)},
        "prev_kv": wire(shows, first) if shows is not None else None,
    }


async def _delete(attempt: Attempt, request: Message) -> Answer:
    found = await attempt.read(_span(request))
    for kv in found.items:
        attempt.delete(kv)
    at = attempt.at()
    previous = found.items if request.get("prev_kv") else ()
    return lambda first: {
        "header": {"revision": at(first)},
        "deleted": len(found.items),
        "prev_kvs": [wire(kv, first) for kv in previous],
    }


OPERATIONS = {
    "request_range": ("response_range", _range),
    "request_put": ("response_put", _put),
    "request_delete_range": ("response_delete_range", _delete),
}
