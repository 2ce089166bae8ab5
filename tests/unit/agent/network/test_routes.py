"""What a node is told of others is decided purely: for each back end, and step by step."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.network import routes
from minikube_py.agent.network.routes import (
    Forward,
    Link,
    Neighbour,
    Peer,
    Route,
    State,
)
from minikube_py.server import options

OWN = Peer("own", ("10.42.0.0/24",), ("192.168.0.1",))
OTHER = Peer("b", ("10.42.1.0/24",), ("192.168.0.2",), "key")
DUAL = Peer("c", ("10.42.2.0/24", "fd42:0:0:2::/64"), ("192.168.0.3", "fd00::3"), "key")


def node(name: str, cidr: str = "", ip: str = "", **metadata: Any) -> dict[str, Any]:
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    entries = [{"type": "Hostname", "address": name}]
    entries += [{"type": "InternalIP", "address": ip}] if ip else []
    return {"metadata": {"name": name, **metadata}, "spec": spec, "status": {"addresses": entries}}


def test_a_peer_is_what_others_depend_on() -> None:
    annotations = {routes.PUBLIC_KEY: "key"}
    made = node("b", "10.42.1.0/24", "192.168.0.2", annotations=annotations)
    assert routes.peer_of(made) == OTHER
    assert routes.peer_of(node("new")) == Peer("new", (), ())


def test_server_and_nodes_know_the_same_back_ends() -> None:
    assert options.NETWORK_BACKENDS == routes.BACKENDS


@pytest.mark.parametrize("backend", routes.BACKENDS)
def test_a_single_node_needs_nothing(backend: str) -> None:
    halves = [Peer("no-network", (), ("192.168.0.3",)), Peer("no-address", ("10.42.3.0/24",), ())]
    assert routes.wanted(backend, OWN, halves) == State()
    assert routes.wanted(backend, OWN._replace(pod_cidrs=()), [OTHER]) == State()


def test_host_gw_is_a_route_through_each_node_in_its_family() -> None:
    odd = Peer("wrong-family", ("10.42.4.0/24",), ("fd00::4",))
    assert routes.wanted("host-gw", OWN, [OTHER, DUAL, odd]) == State(
        routes=frozenset(
            {
                Route("10.42.1.0/24", "192.168.0.2"),
                Route("10.42.2.0/24", "192.168.0.3"),
                Route("fd42:0:0:2::/64", "fd00::3"),
            }
        )
    )


def test_vxlan_is_a_link_with_a_route_a_neighbour_and_a_forward_for_each_node() -> None:
    found = routes.wanted("vxlan", OWN, [OTHER], mtu=1450)
    mac = "0a:58:0a:2a:01:00"
    addresses = frozenset({"10.42.0.0/32"})
    assert found == State(
        Link("kpy-vxlan", 1450, addresses, "0a:58:0a:2a:00:00", "192.168.0.1"),
        frozenset({Neighbour("10.42.1.0", mac)}),
        frozenset({Forward(mac, "192.168.0.2")}),
        frozenset({Route("10.42.1.0/24", "10.42.1.0", "kpy-vxlan")}),
    )


def test_vxlan_carries_both_families_between_nodes_that_have_both() -> None:
    own = Peer("own", ("10.42.0.0/24", "fd42::/64"), ("192.168.0.1",))
    found = routes.wanted("vxlan", own, [DUAL], mtu=1450)
    assert {route.cidr for route in found.routes} == {"10.42.2.0/24", "fd42:0:0:2::/64"}
    assert len({entry.mac for entry in found.neighbours}) == len(found.forwards) == 1
    assert {route.cidr for route in routes.wanted("vxlan", OWN, [DUAL]).routes} == {"10.42.2.0/24"}


def test_wireguard_waits_for_the_keys_of_nodes() -> None:
    found = routes.wanted("wireguard", OWN, [OTHER, Peer("d", ("10.42.3.0/24",), ("10.0.0.4",))])
    assert found.routes == {Route("10.42.1.0/24", "", "kpy-wg")}
    assert found.link is not None


def test_pods_have_packets_that_fit_with_the_headers_into_those_of_nodes() -> None:
    assert routes.pod_mtu("vxlan", "192.168.0.1", 1500) == 1450
    assert routes.pod_mtu("vxlan", "fd00::1", 1500) == 1430
    assert routes.pod_mtu("wireguard", "192.168.0.1", 9000) == 8940
    assert routes.pod_mtu("host-gw", "192.168.0.1", 1500) == 1500
    assert routes.pod_mtu("vxlan", "192.168.0.1", 1290) == 1280
    assert routes.pod_mtu("vxlan", "192.168.0.1", 0) == 0


def test_macs_of_nodes_differ_and_belong_to_nobody_else() -> None:
    networks = [f"10.42.{n}.0/24" for n in range(200)] + [f"fd42:0:0:{n}::/64" for n in range(1, 9)]
    macs = {routes.mac_of([network]) for network in networks}
    assert len(macs) == len(networks)
    assert all(mac.startswith("0a:58:") for mac in macs)  # locally administered


PEERS = st.lists(
    st.builds(
        lambda n, ip, key: Peer(
            f"n{n}", (f"10.42.{n}.0/24", f"fd42:0:0:{n}::/64"), (f"192.168.0.{ip}",), key
        ),
        st.integers(1, 5),
        st.integers(2, 6),
        st.sampled_from(["", "key"]),
    ),
    unique_by=lambda peer: peer.name,
    max_size=4,
)
STATES = st.builds(
    lambda backend, ip, mtu, peers: routes.wanted(
        backend, OWN._replace(addresses=(f"192.168.0.{ip}",)), peers, mtu
    ),
    st.sampled_from(routes.BACKENDS),
    st.integers(7, 8),
    st.sampled_from([1400, 1450]),
    PEERS,
)


def carried_out(state: State, changes: Iterable[routes.Change]) -> State:
    """Do what a kernel does: a link takes along what hangs on it, a route has one way."""
    link, others = state.link, {*state.neighbours, *state.forwards, *state.routes}
    for part, is_wanted in changes:
        if isinstance(part, Link):
            assert link is None or link.name == part.name
            if not is_wanted:
                others = {one for one in others if isinstance(one, Route) and one.link != part.name}
            link = part if is_wanted else None
        elif is_wanted:
            hangs = not isinstance(part, Route) or part.link
            assert not hangs or link is not None
            if isinstance(part, Route):
                others -= {o for o in others if isinstance(o, Route) and o.cidr == part.cidr}
            others.add(part)
        else:
            others.remove(part)
    return State(
        link,
        frozenset(one for one in others if isinstance(one, Neighbour)),
        frozenset(one for one in others if isinstance(one, Forward)),
        frozenset(one for one in others if isinstance(one, Route)),
    )


@given(wanted=STATES, current=STATES)
def test_the_plan_turns_the_current_state_into_the_wanted_one(
    wanted: State, current: State
) -> None:
    assert carried_out(current, routes.plan(wanted, current)) == wanted
    assert not list(routes.plan(wanted, wanted))


def test_a_node_that_comes_costs_three_entries_and_one_that_goes_as_many() -> None:
    one, two = (routes.wanted("vxlan", OWN, peers, 1450) for peers in ([OTHER], [OTHER, DUAL]))
    assert [change.is_wanted for change in routes.plan(two, one)] == [True] * 3
    assert [change.is_wanted for change in routes.plan(one, two)] == [False] * 3
