"""What is refused of a request before anything is read (etcdserver/api/v3rpc/key.go)."""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.datastore.face.keys import Span, span, text_of
from minikube_py.datastore.face.refusals import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    LEASE_PROVIDED,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
    RefusedError,
)

Message = Mapping[str, Any]
WAYS = ("success", "failure")
OPERATIONS_MAX = 128
"""Operations of one transaction (etcd's --max-txn-ops)."""


def check_key(request: Message) -> None:
    """Refuse a request without a key."""
    if not request.get("key"):
        raise RefusedError(EMPTY_KEY)


def check_put(request: Message) -> None:
    """Refuse a put that contradicts itself."""
    check_key(request)
    if request.get("ignore_value") and request.get("value"):
        raise RefusedError(VALUE_PROVIDED)
    if request.get("ignore_lease") and request.get("lease"):
        raise RefusedError(LEASE_PROVIDED)
    text_of(request["key"])


def check_transaction(request: Message) -> None:
    """Refuse a transaction that is too long, has no keys, or writes a key twice."""
    _check_form(request)
    for way in WAYS:
        _written(request.get(way, ()))


def _check_form(request: Message) -> None:
    ways = [request.get(part, ()) for part in ("compare", "success", "failure")]
    if max(map(len, ways)) > OPERATIONS_MAX:
        raise RefusedError(TOO_MANY_OPS)
    for compare in ways[0]:
        check_key(compare)
    for operation in (*ways[1], *ways[2]):
        if len(operation) != 1:
            raise RefusedError(EMPTY_KEY)
        ((kind, inner),) = operation.items()
        if kind == "request_txn":
            _check_form(inner)
        elif kind == "request_put":
            check_put(inner)
        else:
            check_key(inner)


def _written(operations: Sequence[Message]) -> tuple[set[str], list[Span]]:
    """Return which keys are put and which spans deleted; refuses what is written twice.

    What etcd lets through although it writes a key twice is refused when it comes to that.
    """
    puts: set[str] = set()
    deletes = [
        _span(operation["request_delete_range"])
        for operation in operations
        if "request_delete_range" in operation
    ]
    for operation in operations:
        if "request_txn" in operation:
            # Of the two ways one is taken: what both write is written once.
            ways = [_written(operation["request_txn"].get(way, ())) for way in WAYS]
            inner = ways[0][0] | ways[1][0]
            _refuse_overlap(inner, puts, deletes)
            puts |= inner
            deletes += ways[0][1] + ways[1][1]
    for operation in operations:
        if "request_put" in operation:
            put = text_of(operation["request_put"]["key"])
            _refuse_overlap({put}, puts, deletes)
            puts.add(put)
    return puts, deletes


def _refuse_overlap(new: set[str], puts: set[str], deletes: Sequence[Span]) -> None:
    if new & puts or any(where.contains(key) for where in deletes for key in new):
        raise RefusedError(DUPLICATE_KEY)


def _span(message: Message) -> Span:
    return span(message.get("key", b""), message.get("range_end", b""))
