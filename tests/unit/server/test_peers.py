"""Which servers are alive is told from their Leases, by our own clock."""

from datetime import UTC, datetime
from typing import Any

from minikube_py.api.coordination import LEASES
from minikube_py.api.errors import NotFoundError
from minikube_py.api.object import Key
from minikube_py.server import peers
from minikube_py.server.peers import ADDRESS, NAMESPACE, SILENT_SECONDS, Peers


class Item:
    def __init__(self, obj: dict[str, Any]) -> None:
        self.obj = obj
        self.key = Key(obj["metadata"]["namespace"], obj["metadata"]["name"])


class Change:
    def __init__(self, item: Item) -> None:
        self.item = item


class World:
    """Leases in a dictionary: the cache, the client and the clock in one."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0
        self.looks: list[Any] = []

    def kind(self, resource: Any) -> "World":
        assert resource is LEASES
        return self

    def after(self, start: str, namespace: str) -> list[Item]:
        return [Item(lease) for lease in self.leases.values()]

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    async def patch(self, resource: Any, name: str, *_: Any, **__: Any) -> None:
        if name not in self.leases:
            raise NotFoundError(name)

    async def create(self, resource: Any, obj: dict[str, Any]) -> None:
        metadata = {**obj["metadata"], "resourceVersion": "1"}
        self.leases[metadata["name"]] = {**obj, "metadata": metadata}

    async def delete(self, resource: Any, name: str, namespace: str, **_: Any) -> None:
        del self.leases[name]


def server(world: World, address: str, port: int = 6443) -> Peers:
    return Peers(world, world, address, world, port=port)  # type: ignore[arg-type]


async def test_every_server_that_renews_is_there() -> None:
    world = World()
    one, other = server(world, "192.0.2.1"), server(world, "192.0.2.2")
    changes: list[tuple[str, ...]] = []
    one.subscribe(lambda: changes.append(tuple(one.addresses)))
    await one._tend()
    await other._tend()
    one._look([Change(item) for item in world.after("", NAMESPACE)])  # type: ignore[misc]
    assert one.addresses == other.addresses == ("192.0.2.1", "192.0.2.2")
    assert changes == [("192.0.2.1", "192.0.2.2")]


async def test_a_server_that_is_silent_for_long_is_gone() -> None:
    world = World()
    one, other = server(world, "192.0.2.1"), server(world, "192.0.2.2")
    await other._tend()
    await one._tend()
    for _ in range(3):
        world.seconds += SILENT_SECONDS / 2
        one._look([Change(i) for i in world.after("", "") if _is_of(i, "192.0.2.1")])  # type: ignore[misc]
        await one._tend()
    assert one.addresses == ("192.0.2.1",)
    assert [lease["metadata"]["annotations"][ADDRESS] for lease in world.leases.values()] == [
        "192.0.2.1"
    ]


def _is_of(item: Item, address: str) -> bool:
    return bool(item.obj["metadata"]["annotations"][ADDRESS] == address)


async def test_a_server_that_stops_is_gone_at_once_and_does_not_come_back() -> None:
    world = World()
    one, other = server(world, "192.0.2.1"), server(world, "192.0.2.2")
    await one._tend()
    await other._tend()
    one._count()
    assert len(one.addresses) == 2
    await other.leave()
    one._count()
    assert one.addresses == ("192.0.2.1",)
    assert other.addresses == ("192.0.2.1",)


async def test_a_server_that_moves_is_found_at_its_new_address_alone() -> None:
    world = World()
    one, other = server(world, "192.0.2.1"), server(world, "192.0.2.2")
    await other._tend()
    await one._tend()
    await one.move("192.0.2.7")
    other._count()
    assert one.addresses == other.addresses == ("192.0.2.2", "192.0.2.7")
    await one.leave()
    other._count()
    assert other.addresses == ("192.0.2.2",)


async def test_the_last_server_keeps_its_address_when_it_stops() -> None:
    world = World()
    one = server(world, "192.0.2.1")
    await one._tend()
    await one.leave()
    assert one.addresses == ("192.0.2.1",)
    assert peers.RENEW_SECONDS * 2 < SILENT_SECONDS  # one renewal may be lost


async def test_servers_on_different_ports_agree_on_the_one_that_they_publish() -> None:
    world = World()
    one, other = server(world, "192.0.2.1", 7001), server(world, "192.0.2.2", 7002)
    await other._tend()
    assert other.port == 7002
    await one._tend()
    other._count()
    assert one.port == other.port == 7001
    await one.leave()
    other._count()
    assert other.port == 7002
