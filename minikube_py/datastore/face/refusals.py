"""What is refused, in etcd's own codes and words (api/v3rpc/rpctypes/error.go)."""

from typing import NamedTuple

from minikube_py.datastore.kv import (
    CompactedError,
    DatastoreError,
    FutureRevisionError,
    UnavailableError,
)


class Refusal(NamedTuple):
    """A gRPC status: the name of its code, and the text."""

    code: str
    text: str


class RefusedError(Exception):
    """A call is answered with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


EMPTY_KEY = Refusal("INVALID_ARGUMENT", "etcdserver: key is not provided")
VALUE_PROVIDED = Refusal("INVALID_ARGUMENT", "etcdserver: value is provided")
LEASE_PROVIDED = Refusal("INVALID_ARGUMENT", "etcdserver: lease is provided")
KEY_NOT_FOUND = Refusal("INVALID_ARGUMENT", "etcdserver: key not found")
TOO_MANY_OPS = Refusal("INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
DUPLICATE_KEY = Refusal("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")
TOO_LARGE = Refusal("INVALID_ARGUMENT", "etcdserver: request is too large")
COMPACTED = Refusal("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Refusal(
    "OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"
)
LEASE_NOT_FOUND = Refusal("NOT_FOUND", "etcdserver: requested lease not found")
LEASE_EXISTS = Refusal("FAILED_PRECONDITION", "etcdserver: lease already exists")
LEASE_TTL_TOO_LARGE = Refusal("OUT_OF_RANGE", "etcdserver: too large lease TTL")
TOO_MANY_REQUESTS = Refusal("RESOURCE_EXHAUSTED", "etcdserver: too many requests")
PERMISSION_DENIED = Refusal("PERMISSION_DENIED", "etcdserver: permission denied")
TIMEOUT = Refusal("UNAVAILABLE", "etcdserver: request timed out")

# What etcd does and kpy does not, or not so, is refused by name.
NOT_TEXT = Refusal("INVALID_ARGUMENT", "kpy: keys are UTF-8 text without a NUL")
OWN_KEY = Refusal("INVALID_ARGUMENT", "kpy: keys below /kpy/etcd/ are kpy's own")


def not_supported(what: str) -> Refusal:
    """Return the refusal of a call that kpy does not serve."""
    return Refusal("UNIMPLEMENTED", f"kpy: {what} is not supported")


def refusal_of(error: DatastoreError) -> Refusal:
    """Return what an error of the backend is to a client of etcd."""
    if isinstance(error, CompactedError):
        return COMPACTED
    if isinstance(error, FutureRevisionError):
        return FUTURE_REVISION
    if isinstance(error, UnavailableError):
        return Refusal("UNAVAILABLE", f"etcdserver: {error}")
    return Refusal("UNKNOWN", f"etcdserver: {error}")
