"""Our writes as etcd's transactions: pure, so that they can be read and tested by themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.datastore.etcd.watching import key_bytes
from minikube_py.datastore.kv import Change, KeyValue, Unchanged

OPERATIONS_MAX = 128
"""etcd's --max-txn-ops: comparisons, or operations of one branch."""
Message = Mapping[str, Any]


def transaction(compare: Sequence[Message], success: Sequence[Message]) -> dict[str, Any]:
    """Return a transaction that shows, where it does nothing, what the compared keys are at."""
    looks = [{"request_range": {"key": one["key"]}} for one in compare if "range_end" not in one]
    return {"compare": compare, "success": success, "failure": looks}


def at_revision(key: str, revision: int) -> dict[str, Any]:
    """Compare: the key was last written at a revision (0: it is absent)."""
    return {"key": key_bytes(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}


def exists(key: str) -> dict[str, Any]:
    """Compare: the key is there."""
    return {"key": key_bytes(key), "target": "MOD", "result": "GREATER", "mod_revision": 0}


def put(key: str, value: bytes, lease: int) -> dict[str, Any]:
    """Write a key; a lease is one that etcd knows."""
    return {"request_put": {"key": key_bytes(key), "value": value, "lease": lease}}


def delete(key: str) -> dict[str, Any]:
    """Delete a key."""
    return {"request_delete_range": {"key": key_bytes(key)}}


def operation(change: Change) -> dict[str, Any]:
    """Return what one of several changes does."""
    if change.value is None:
        return delete(change.key)
    return put(change.key, change.value, change.lease)


def still(condition: Unchanged, then: Sequence[KeyValue]) -> list[dict[str, Any]]:
    """Compare: what a range held at a revision is there as it was, and nothing newer is.

    What was created and deleted again since is not noticed.
    """
    newer = {
        "key": key_bytes(condition.first),
        "range_end": key_bytes(condition.end),
        "target": "MOD",
        "result": "LESS",
        "mod_revision": condition.revision + 1,
    }
    return [newer, *(at_revision(item.key, item.revision) for item in then)]
