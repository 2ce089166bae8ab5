"""One object as bytes, with what is asked of it most kept beside.

Caches and informers hold items, not parsed objects: 10,000 parsed pods cost 265 MB and stall the
garbage collector, their bytes 56 MB and nothing. The parsed form is made on demand, shared by all
who hold it at that time, and dropped with the last of them. Only the few that were parsed last are
held here: what every write looks at (its namespace, its account) is not parsed for every write.
"""

import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from minikube_py.api.object import Key, Obj

T = TypeVar("T")
RECENT_MAX = 64
"""Parsed objects that are held although nobody else does: less than 2 MB."""


class Document(dict[str, Any]):
    """A parsed object that can be referred to weakly; read-only by agreement."""

    __slots__ = ("__weakref__",)


_recent: deque[Document] = deque(maxlen=RECENT_MAX)


class Item:
    """An object of one kind at one revision; `data` is its JSON with resourceVersion inside."""

    __slots__ = (
        "_derived",
        "_parsed",
        "controller",
        "data",
        "deleting",
        "fields",
        "finalizers",
        "key",
        "labels",
        "owners",
        "read",
        "revision",
        "stale",
        "uid",
    )

    def __init__(self, obj: Obj, data: bytes, revision: int, fields: Mapping[str, str]) -> None:
        metadata = obj["metadata"]
        self.data = data
        self.revision = revision
        self.key = Key(metadata.get("namespace", ""), metadata["name"])
        self.uid: str = metadata.get("uid", "")
        self.labels: Mapping[str, str] = metadata.get("labels") or {}
        owners = metadata.get("ownerReferences") or ()
        self.owners: tuple[str, ...] = tuple(o["uid"] for o in owners)
        self.controller: str = next((o["uid"] for o in owners if o.get("controller")), "")
        """The uid of the owner that manages the object, "" for none."""
        self.finalizers: tuple[str, ...] = tuple(metadata.get("finalizers") or ())
        self.deleting = metadata.get("deletionTimestamp") is not None
        self.stale = False
        """Whether it is stored otherwise than it is shown: writing it again changes the bytes."""
        self.fields = fields
        """The values of the kind's field selectors, by path."""
        self.read: Callable[[bytes], dict[str, Any]] = orjson.loads
        """How the bytes are parsed; a kind whose values' texts count has a way of its own."""
        self._parsed: weakref.ref[Document] | None = None
        self._derived: tuple[Callable[[Item], Any], Any] | None = None

    def derived(self, make: Callable[["Item"], T]) -> T:
        """Return what a function makes of this item, made once.

        One result is kept, so all who ask often of a kind should ask with the same function, and
        what it makes should be small: it lives as long as the item.
        """
        if self._derived is None or self._derived[0] is not make:
            self._derived = (make, make(self))
        made: T = self._derived[1]
        return made

    @property
    def obj(self) -> Obj:
        """The parsed object; equal calls return the same one while somebody holds it."""
        document = self._parsed() if self._parsed is not None else None
        if document is None:
            document = Document(self.read(self.data))
            self._parsed = weakref.ref(document)
            _recent.append(document)
        return document

    @classmethod
    def from_object(cls, obj: Obj, fields: Mapping[str, str] | None = None) -> "Item":
        """Make an item of a parsed object that carries its resourceVersion."""
        revision = int(obj["metadata"].get("resourceVersion") or 0)
        return cls(obj, orjson.dumps(obj), revision, fields or {})
