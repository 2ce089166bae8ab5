"""Services with addresses of their own: unique, stable, and answered for by one node that can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.announcements import ANNOUNCED_BY, addresses_of_node
from minikube_py.api.core import EVENTS, NODES, SERVICES
from minikube_py.api.object import Key, annotations_of, get
from minikube_py.server.cloud import local_load_balancer
from minikube_py.server.cloud.address_pool import assign, parse
from minikube_py.server.cloud.local_shares import Ask, Machine
from tests.harness import harness
from tests.unit.server.cloud.fake_cloud import node, service
from tests.virtual_time import settle, virtual

POOL = (parse("192.0.2.0/29"), parse("fd00::10-fd00::11"))


def ask(name, **more):
    values = {
        "key": Key("d", name),
        "rank": (not more.get("current"), "2026", Key("d", name)),
        "ports": (),
        "families": ("IPv4",),
        "pool": "",
        "serving": None,
    }
    return Ask(**(values | more))


def machines(*names, **more):
    return [Machine(name, (), enabled=False, pool=more.get(name, "")) for name in names]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("192.0.2.0/30", ["192.0.2.1", "192.0.2.2"]),
        ("192.0.2.4/31", ["192.0.2.4", "192.0.2.5"]),
        ("192.0.2.9/32", ["192.0.2.9"]),
        ("192.0.2.5 - 192.0.2.6", ["192.0.2.5", "192.0.2.6"]),
        ("fd00::1-fd00::2", ["fd00::1", "fd00::2"]),
    ],
)
def test_a_pool_is_a_network_or_a_range(text, addresses):
    found = parse(text)
    assert list(found) == addresses
    assert all(address in found for address in addresses)
    assert "203.0.113.1" not in found


@pytest.mark.parametrize("text", ["x", "10.0.0.2-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.1/8", ""])
def test_what_is_no_pool_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 -- of the library as well as of ours
        parse(text)


def test_a_service_gets_what_it_wants_or_has_or_else_what_is_free():
    asks = [
        ask("a-had", current=("198.51.100.1",)),
        ask("b-has", current=("192.0.2.1",)),
        ask("wants", requested="192.0.2.5"),
        ask("wants-more", requested="192.0.2.1"),
        ask("wants-else", requested="198.51.100.1"),
        ask("wants-nonsense", requested="home"),
        ask("both", families=("IPv6", "IPv4")),
    ]
    found = {key.name: verdict for key, verdict in assign(asks, machines("n"), POOL).items()}
    assert found["b-has"].addresses == ("192.0.2.1",)
    assert found["a-had"].addresses == ("192.0.2.2",)
    assert found["both"].addresses == ("fd00::10", "192.0.2.3")
    assert found["wants"].addresses == ("192.0.2.5",)
    assert found["wants-more"].conflict == "address 192.0.2.1 is taken by service d/b-has"
    assert found["wants-else"].conflict == "address 198.51.100.1 is not in the pool"
    assert found["wants-nonsense"].conflict == "address home is not in the pool"
    assert found["wants-more"].announcer == ""


def test_a_pool_that_is_empty_says_so():
    asks = [ask(str(number)) for number in range(7)]
    verdicts = assign(asks, machines("n"), POOL[:1])
    assert verdicts[Key("d", "6")].conflict == "the pool has no free IPv4 address"
    assert verdicts[Key("d", "6")].reason == "AllocationFailed"


@given(
    asked=st.lists(
        st.tuples(st.sampled_from(["", "192.0.2.3", "192.0.2.4"]), st.booleans()), max_size=8
    ),
    nodes=st.sets(st.sampled_from("abcd")),
)
def test_addresses_are_unique_and_stay_and_only_those_move_whose_node_went(asked, nodes):
    asks = [ask(str(n), requested=wanted) for n, (wanted, _) in enumerate(asked)]
    verdicts = assign(asks, machines(*nodes), POOL)
    given_out = [address for v in verdicts.values() for address in v.addresses]
    assert len(given_out) == len(set(given_out))
    again = [
        ask(str(n), requested=wanted, current=verdicts[Key("d", str(n))].addresses)
        for n, (wanted, _) in enumerate(asked)
    ]
    for left in (nodes, nodes - {"a"}):
        later = assign(again, machines(*left), POOL)
        for key, verdict in later.items():
            assert verdict.addresses == verdicts[key].addresses
            assert (verdict.announcer in left) == bool(verdict.addresses and left)
            if verdicts[key].announcer in left:
                assert verdict.announcer == verdicts[key].announcer


def test_only_nodes_that_can_serve_answer():
    here = machines("a", "b", b="x")
    for each, name in (
        (ask("s", pool="x"), "b"),
        (ask("s", serving=frozenset({"a"})), "a"),
        (ask("s", serving=frozenset()), ""),
    ):
        assert assign([each], here, POOL)[each.key].announcer == name


@virtual
async def test_a_service_is_told_its_address_and_who_answers_and_another_node_takes_over():
    async with harness() as world:
        for name in ("n1", "n2"):
            await world.client.create(NODES, node(name))
        world.run(local_load_balancer.controller(pools=POOL))
        await world.client.create(SERVICES, service())
        await world.client.create(SERVICES, service("webs"))
        await settle(1)
        first, second = world.cluster.objects(SERVICES)
        assert get(first, "status.loadBalancer.ingress")[0]["ip"] == "192.0.2.1"
        assert get(second, "status.loadBalancer.ingress")[0]["ip"] == "192.0.2.2"
        by = annotations_of(first)[ANNOUNCED_BY]
        assert addresses_of_node([first], by) == {"192.0.2.1"}
        assert addresses_of_node([first], "nobody") == set()
        down = {
            **world.cluster.table(NODES)[Key("", by)].obj,
            "status": node(ready=False)["status"],
        }
        await world.client.update(NODES, down, subresource="status")
        await settle(1)
        moved = world.cluster.objects(SERVICES)[0]
        assert {by, annotations_of(moved)[ANNOUNCED_BY]} == {"n1", "n2"}
        assert moved["status"] == first["status"]
        requests = len(world.cluster.requests)
        await settle(3600)
        assert len(world.cluster.requests) == requests
        assert {event["reason"] for event in world.cluster.objects(EVENTS)} == {
            "EnsuredLoadBalancer"
        }
