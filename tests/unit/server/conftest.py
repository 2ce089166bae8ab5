"""What tests of the server's decisions share: caches and time that the test makes up."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj


class FakeLister:
    """A cache of one kind, filled by the test."""

    def __init__(self, objects: Iterable[Obj] = ()) -> None:
        self.revision = 0
        self._items: dict[Key, Item] = {}
        for obj in objects:
            self.put(obj)

    def put(self, obj: Obj, **fields: str) -> None:
        self.revision += 1
        stamped = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        item = Item.from_object(stamped, fields)
        self._items[item.key] = item

    def remove(self, namespace: str, name: str) -> None:
        self.revision += 1
        del self._items[Key(namespace, name)]

    def item(self, key: Key) -> Item | None:
        return self._items.get(key)

    def get(self, key: Key) -> Obj | None:
        item = self._items.get(key)
        return item.obj if item else None

    def items(self, namespace: str = "") -> Iterable[Item]:
        return [i for i in self._items.values() if namespace in ("", i.key.namespace)]

    def owned_by(self, uid: str) -> Sequence[Obj]:
        return [i.obj for i in self._items.values() if uid in i.owners]


class FakeClock:
    """Time that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def listing() -> Callable[..., FakeLister]:
    """Make a cache that holds the given objects."""
    return lambda *objects: FakeLister(objects)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
