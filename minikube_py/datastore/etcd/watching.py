"""From what etcd's watch sends to whole transactions of our events.

A watch is always of the whole store: each revision has its event then, so whoever has seen the
event of a revision knows of everything before it, and nobody has to ask etcd how far a watch is
(a progress notification may overtake events before etcd 3.4.25 and 3.5.8).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from minikube_py.datastore.etcd.connection import Connection
from minikube_py.datastore.kv import CompactedError, Event, KeyValue, UnavailableError

EVERYTHING = b"\0"
"""As the key the first possible one, as the end of a range: no end."""


def key_bytes(key: str) -> bytes:
    """Return a key as etcd has it; keys of others need not be text."""
    return key.encode(errors="surrogateescape")


def key_text(key: bytes) -> str:
    """Return a key of etcd as ours."""
    return key.decode(errors="surrogateescape")


def key_value(found: Mapping[str, Any]) -> KeyValue:
    """Return a key of etcd as ours."""
    return KeyValue(
        key_text(found["key"]),
        found.get("value", b""),
        found["mod_revision"],
        found["create_revision"],
        found.get("lease", 0),
        found.get("version", 0),
    )


def event_of(told: Mapping[str, Any]) -> Event:
    """Return an event of etcd as ours; a delete shows the last value before it."""
    kv = told["kv"]
    if told.get("type") != "DELETE":
        put = key_value(kv)
        return Event(
            put.key,
            put.value,
            put.revision,
            put.create_revision,
            lease=put.lease,
            version=put.version,
        )
    before = told.get("prev_kv", {})
    return Event(
        key_text(kv["key"]),
        before.get("value", b""),
        kv["mod_revision"],
        before.get("create_revision", 0),
        deleted=True,
        lease=before.get("lease", 0),
        version=0,
    )


async def transactions(
    connection: Connection, after: int
) -> AsyncGenerator[tuple[Sequence[Event], int]]:
    """Yield events after a revision with the revision up to which they are complete.

    The first has no events: it says that the watch stands.

    Raises:
        CompactedError: the history does not go back that far.
        UnavailableError: the member is gone; begin again after the last event.

    """
    request = {
        "key": EVERYTHING,
        "range_end": EVERYTHING,
        "start_revision": after + 1,
        "prev_kv": True,
        "fragment": True,
    }
    part: list[Event] = []
    async with aclosing(connection.watch(request)) as answers:
        async for answer in answers:
            if answer.get("canceled"):
                if oldest := answer.get("compact_revision"):
                    raise CompactedError(after, oldest)
                raise UnavailableError(f"etcd ended a watch: {answer.get('cancel_reason', '')}")
            part += map(event_of, answer.get("events", ()))
            if answer.get("created"):
                yield (), after
            if part and not answer.get("fragment"):
                whole, part = part, []
                yield whole, whole[-1].revision


async def compacted(connection: Connection) -> int:
    """Return the oldest revision that can be read; 0 where nothing has been compacted."""
    request = {"key": EVERYTHING, "range_end": EVERYTHING, "start_revision": 1, "fragment": True}
    async with aclosing(connection.watch(request)) as answers:
        async for answer in answers:
            if answer.get("canceled") or answer.get("events"):
                return int(answer.get("compact_revision", 0))
    return 0
