"""The items of one kind with the indexes that are asked for: what a lister answers from.

Nothing here scans all items to find a few: by key, by namespace, by uid, by owner's uid, and by
indexes that a user of the store adds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.api.selectors import LabelSelector

IndexValues = Callable[[Item], Iterable[str]]
"""The values under which an index finds an item."""


class Index:
    """Finds keys by the values that a function gives for each item."""

    __slots__ = ("_keys", "_values")

    def __init__(self, values: IndexValues) -> None:
        self._values = values
        self._keys: dict[str, dict[Key, None]] = {}

    def is_by(self, values: IndexValues) -> bool:
        """Return whether that is the function, or the same one defined again."""
        return _origin(values) == _origin(self._values)

    def add(self, item: Item) -> None:
        """Find this item from now on."""
        for value in self._values(item):
            self._keys.setdefault(value, {})[item.key] = None

    def remove(self, item: Item) -> None:
        """Find this item no longer."""
        for value in self._values(item):
            keys = self._keys.get(value)
            if keys is not None:
                keys.pop(item.key, None)
                if not keys:
                    del self._keys[value]

    def keys(self, value: str) -> Iterable[Key]:
        """Return the keys of the items with that value, oldest entry first."""
        return self._keys.get(value, ())

    def count(self, value: str) -> int:
        """Return how many items have that value."""
        return len(self._keys.get(value, ()))


LABELS = "labels"
"""Name of the index that finds items by each of their labels."""


def label_values(item: Item) -> Iterable[str]:
    """Index items by namespace and label, for `ItemStore.select`."""
    return [f"{item.key.namespace}/{key}={value}" for key, value in item.labels.items()]


def _origin(values: IndexValues) -> tuple[str, str]:
    """Return where a function stands in the program; all functions have a place."""
    return (
        getattr(values, "__module__", ""),
        getattr(values, "__qualname__", repr(values)),
    )


def _namespace(item: Item) -> Iterable[str]:
    return (item.key.namespace,)


def _owners(item: Item) -> Iterable[str]:
    return item.owners


class ItemStore:
    """The newest item of every key; a lister whose `revision` its owner keeps."""

    def __init__(self, indexes: Mapping[str, IndexValues] | None = None) -> None:
        self.revision = 0
        self._items: dict[Key, Item] = {}
        self._by_uid: dict[str, Key] = {}
        self._by_namespace = Index(_namespace)
        self._by_owner = Index(_owners)
        self._custom = {name: Index(values) for name, values in (indexes or {}).items()}

    def __len__(self) -> int:
        return len(self._items)

    def add_index(self, name: str, values: IndexValues) -> None:
        """Keep one more index; adding the same again changes nothing.

        Raises:
            ValueError: another function has the name already; the store is shared.

        """
        if name in self._custom:
            if not self._custom[name].is_by(values):
                raise ValueError(f"index {name!r} is another's; its user needs another name")
            return
        index = self._custom[name] = Index(values)
        for item in self._items.values():
            index.add(item)

    def put(self, item: Item) -> Item | None:
        """Keep an item in place of the one of the same key; return that one."""
        old = self._items.get(item.key)
        if old is not None:
            self._unindex(old)
        self._items[item.key] = item
        if item.uid:
            self._by_uid[item.uid] = item.key
        for index in self._indexes():
            index.add(item)
        return old

    def remove(self, key: Key) -> Item | None:
        """Drop the item of that key and return it."""
        old = self._items.pop(key, None)
        if old is not None:
            self._unindex(old)
        return old

    def _unindex(self, item: Item) -> None:
        if self._by_uid.get(item.uid) == item.key:
            del self._by_uid[item.uid]
        for index in self._indexes():
            index.remove(item)

    def _indexes(self) -> tuple[Index, ...]:
        return (self._by_namespace, self._by_owner, *self._custom.values())

    def keys(self) -> Iterable[Key]:
        """Return all keys."""
        return self._items.keys()

    def item(self, key: Key) -> Item | None:
        """Return the item of that key, or None."""
        return self._items.get(key)

    def get(self, key: Key) -> Obj | None:
        """Return the object of that key, or None."""
        item = self._items.get(key)
        return None if item is None else item.obj

    def items(self, namespace: str = "") -> Iterable[Item]:
        """Return the items of a namespace, or of all where it is ""; in no order."""
        if not namespace:
            return tuple(self._items.values())
        return self._found(self._by_namespace.keys(namespace))

    def count(self, namespace: str) -> int:
        """Return how many items a namespace has."""
        return self._by_namespace.count(namespace)

    def with_uid(self, uid: str) -> Item | None:
        """Return the item with that uid, or None."""
        key = self._by_uid.get(uid)
        return None if key is None else self._items[key]

    def items_owned_by(self, uid: str) -> Sequence[Item]:
        """Return the items with an ownerReference to that uid."""
        return self._found(self._by_owner.keys(uid))

    def owned_by(self, uid: str) -> Sequence[Obj]:
        """Return the objects with an ownerReference to that uid."""
        return [item.obj for item in self.items_owned_by(uid)]

    def controlled_by(self, owner: Obj) -> Sequence[Obj]:
        """Return the objects whose controlling ownerReference names that owner."""
        uid = owner["metadata"]["uid"]
        return [item.obj for item in self.items_owned_by(uid) if item.controller == uid]

    def indexed(self, name: str, value: str) -> Sequence[Item]:
        """Return the items that a custom index finds under the value."""
        return self._found(self._custom[name].keys(value))

    def index_count(self, name: str, value: str) -> int:
        """Return how many items a custom index finds under the value."""
        return self._custom[name].count(value)

    def select(self, namespace: str, selector: LabelSelector) -> Sequence[Item]:
        """Return the items of a namespace whose labels match.

        With the index LABELS only those are looked at that have the rarest label asked for.
        """
        index = self._custom.get(LABELS)
        asked = [
            f"{namespace}/{requirement.key}={requirement.values[0]}"
            for requirement in selector.requirements
            if len(requirement.values) == 1 and requirement.operator in ("=", "==", "in")
        ]
        if index is None or not asked:
            candidates = self.items(namespace)
        else:
            candidates = self._found(index.keys(min(asked, key=index.count)))
        return [item for item in candidates if selector.matches(item.labels)]

    def _found(self, keys: Iterable[Key]) -> Sequence[Item]:
        return [self._items[key] for key in keys]
