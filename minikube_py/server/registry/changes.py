"""One event of the watch cache, and how watchers see it.

What is sent is made once for all watchers, and only where one of them wants it.
"""

from collections.abc import Iterable

import orjson

from minikube_py.api.item import Item
from minikube_py.client.protocol import EventType


class Shown:
    """One event as watchers see it; its encoded form is made once for all of them."""

    __slots__ = ("_chunk", "item", "type")

    def __init__(self, kind: EventType, item: Item) -> None:
        self.type: EventType = kind
        self.item = item
        self._chunk: bytes | None = None

    @property
    def chunk(self) -> bytes:
        """The event as it goes over the wire: a line of JSON as a chunk of HTTP/1.1."""
        if self._chunk is None:
            line = b'{"type":"%b","object":%b}\n' % (self.type.encode(), self.item.data)
            self._chunk = b"%x\r\n%b\r\n" % (len(line), line)
        return self._chunk

    @property
    def line(self) -> bytes:
        """The event as a line of JSON."""
        chunk = self.chunk
        return chunk[chunk.index(b"\n") + 1 : -2]

    def forget_chunk(self) -> None:
        """Free the encoded form; who still wants it makes it again."""
        self._chunk = None


class Change:
    """One event of the cache: what an object was and what it is.

    `item` of a deletion is the last state at the revision of the deletion.
    """

    __slots__ = ("_shown", "deleted", "item", "previous", "to_all")

    def __init__(self, item: Item, previous: Item | None, *, deleted: bool) -> None:
        self.item = item
        self.previous = previous
        self.deleted = deleted
        kind: EventType = "DELETED" if deleted else "MODIFIED" if previous else "ADDED"
        self.to_all = Shown(kind, item)
        """What is seen by watchers that leave nothing out."""
        self._shown: dict[EventType, Shown] = {kind: self.to_all}

    @property
    def revision(self) -> int:
        """The revision of the write."""
        return self.item.revision

    def shown(self, *, fits: bool, fitted: bool) -> Shown | None:
        """Return what a watcher sees whose selection the object fits now, and fitted before.

        An object that leaves the selection is seen as deleted: in its previous state at the new
        revision, as upstream's cacher does.
        """
        if fits:
            return self._as("MODIFIED" if fitted else "ADDED")
        if fitted or (self.deleted and self.previous is None):
            return self._as("DELETED")
        return None

    def _as(self, kind: EventType) -> Shown:
        event = self._shown.get(kind)
        if event is None:
            item = self._left() if kind == "DELETED" else self.item
            event = self._shown[kind] = Shown(kind, item)
        return event

    def _left(self) -> Item:
        if self.deleted or self.previous is None:
            return self.item
        obj = {**self.previous.obj}
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.revision)}
        return Item(obj, orjson.dumps(obj), self.revision, self.previous.fields)

    def forget_chunks(self) -> None:
        """Free what was encoded for watchers."""
        for event in self._shown.values():
            event.forget_chunk()


class Events(list[Shown]):
    """Events that are told together; their bytes are joined once for all who are told the same."""

    __slots__ = ("_data",)

    def __init__(self, events: Iterable[Shown]) -> None:
        super().__init__(events)
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """The events as chunks of HTTP/1.1."""
        if self._data is None:
            self._data = b"".join([event.chunk for event in self])
        return self._data


class Batch(list[Change]):
    """The changes that one commit brings."""

    __slots__ = ("_told",)

    def __init__(self, changes: Iterable[Change]) -> None:
        super().__init__(changes)
        self._told: dict[str, Events] = {}

    def everything(self, namespace: str) -> Events:
        """Return what is seen by watchers that leave nothing out of a namespace, or of all."""
        told = self._told.get(namespace)
        if told is None:
            told = self._told[namespace] = Events(
                change.to_all
                for change in self
                if not namespace or change.item.key.namespace == namespace
            )
        return told
