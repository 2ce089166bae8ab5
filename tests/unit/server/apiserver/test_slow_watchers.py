"""Watchers that do not keep up: what they leave unread is bounded, and they are told or cut off."""

import asyncio

import pytest

from minikube_py.api.core import CONFIGMAPS
from minikube_py.api.errors import ExpiredError
from minikube_py.api.field_selectors import EVERYTHING
from minikube_py.api.item import Item
from minikube_py.api.selectors import parse
from minikube_py.server.apiserver import watch
from minikube_py.server.apiserver.parameters import Selection
from minikube_py.server.apiserver.watch import Subscription, Watches
from minikube_py.server.registry.cache import KindCache
from minikube_py.server.registry.changes import Change

ALL = Selection(labels=parse(""), fields=EVERYTHING, name="")


@pytest.fixture(autouse=True)
def few_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PENDING_MAX", 3)


def changes(count: int, first: int = 1) -> list[Change]:
    metadata = [
        {"name": f"a{n}", "namespace": "x", "resourceVersion": str(n)}
        for n in range(first, first + count)
    ]
    return [
        Change(Item.from_object({"metadata": entry}, {}), None, deleted=False) for entry in metadata
    ]


async def test_a_watcher_whose_reader_is_stuck_is_cut_off() -> None:
    kind, cut = KindCache(CONFIGMAPS), []
    subscription = Subscription(kind, "", ALL)
    subscription.cut = lambda: cut.append(True)
    kind.apply(changes(3))
    assert cut == []
    kind.apply(changes(1, first=4))
    assert cut == [True]
    with pytest.raises(ExpiredError):
        await subscription.next()


async def test_a_watcher_that_waits_is_told_to_list_again() -> None:
    kind, cut = KindCache(CONFIGMAPS), []
    subscription = Subscription(kind, "", ALL)
    subscription.cut = lambda: cut.append(True)
    reader = asyncio.ensure_future(subscription.next())
    await asyncio.sleep(0)
    kind.apply(changes(4))
    with pytest.raises(ExpiredError):
        await reader
    assert cut == []


async def test_what_watchers_were_sent_is_counted_also_after_they_left() -> None:
    kind, watches = KindCache(CONFIGMAPS), Watches()
    one, other = Subscription(kind, "", ALL), Subscription(kind, "elsewhere", ALL)
    watches.add(one)
    watches.add(other)
    kind.apply(changes(2))
    assert list(watches.kinds()) == [kind, kind]
    watches.remove(one)
    watches.remove(one)
    assert watches.sent() == {"configmaps": 2}
    watches.close()
