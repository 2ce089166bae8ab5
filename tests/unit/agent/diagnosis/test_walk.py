"""Which hop fails is told with a cause and a remedy, and what lies behind it is not tried."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from minikube_py.agent.diagnosis import probes, walk
from minikube_py.agent.diagnosis.walk import Cluster, Hop, table
from minikube_py.agent.network.routes import Peer

HERE = Peer("n1", ("10.42.0.0/24",), ("192.168.0.1",))
THERE = Peer("n2", ("10.42.1.0/24",), ("192.168.0.2",))
CLUSTER = Cluster(
    own="n1",
    backend="vxlan",
    mtu=1450,
    service="10.43.0.1",
    dns=("10.43.0.10",),
    domain="cluster.local",
    own_cidrs=("10.42.0.0/24",),
    peers=(HERE, THERE),
    routed=frozenset({"10.42.1.0/24"}),
)
Broken = dict[str, str]


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sequence[Hop]]:
    """Walk through a network in which some addresses have troubles."""

    def walked(broken: Broken, cluster: Cluster = CLUSTER) -> Sequence[Hop]:
        def ping(address: str, size: int = 0) -> str:
            return broken.get(f"{address}/{size}") or broken.get(address, "")

        def resolve(server: str, name: str) -> tuple[str, list[str]]:
            return broken.get(server, ""), [broken.get("name", cluster.service)]

        monkeypatch.setattr(probes, "ping", ping)
        monkeypatch.setattr(probes, "connect", lambda a, port: broken.get(f"{a}:{port}", ""))
        monkeypatch.setattr(probes, "resolve", resolve)
        return list(walk.walk(cluster, lambda probe: probe()))

    return walked


def failed(hops: Sequence[Hop]) -> list[str]:
    return [hop.name for hop in hops if hop.state == "FAIL"]


def test_all_is_well(hops: Any) -> None:
    found = hops({})
    assert {hop.state for hop in found} == {"ok"}
    assert [hop.name for hop in found] == [
        "pod -> node",
        "pod -> service",
        "pod -> DNS",
        "pod -> node n2",
        "pod -> pods of n2",
        "large packets to n2",
    ]


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"10.42.0.1": "no answer"}, "pod -> node"),
        ({"10.43.0.1:443": "connection refused"}, "pod -> service"),
        ({"10.43.0.10": "no answer"}, "pod -> DNS"),
        ({"name": "10.0.0.9"}, "pod -> DNS"),
        ({"192.168.0.2": "no answer", "10.42.1.1": "no answer"}, "pod -> node n2"),
        ({"10.42.1.1": "no answer"}, "pod -> pods of n2"),
        ({"10.42.1.1/1450": "message too long"}, "large packets to n2"),
    ],
)
def test_the_hop_that_fails_is_named_alone(hops: Any, broken: Broken, name: str) -> None:
    found = hops(broken)
    assert failed(found) == [name]
    (hop,) = (hop for hop in found if hop.state == "FAIL")
    assert hop.cause
    assert hop.remedy


def test_a_node_that_answers_no_pings_but_whose_pods_do_is_well(hops: Any) -> None:
    assert failed(hops({"192.168.0.2": "no answer"})) == []


def test_the_cause_fits_the_back_end(hops: Any) -> None:
    broken = {"10.42.1.1": "no answer"}
    causes = {}
    for backend in ("vxlan", "wireguard", "host-gw"):
        found = hops(broken, replace(CLUSTER, backend=backend))
        (causes[backend],) = (hop.cause for hop in found if hop.state == "FAIL")
    assert "8472" in causes["vxlan"]
    assert "51820" in causes["wireguard"]
    assert "the route leads to the node" in causes["host-gw"]
    (hop,) = (
        hop for hop in hops(broken, replace(CLUSTER, routed=frozenset())) if hop.state == "FAIL"
    )
    assert hop.cause == "this node has no route to 10.42.1.0/24"


def test_a_node_without_a_network_yet_is_left_out(hops: Any) -> None:
    new = Peer("n3", (), ("192.168.0.3",))
    found = hops({}, replace(CLUSTER, peers=(HERE, new)))
    assert [hop.state for hop in found if "n3" in hop.name] == ["skipped"]


def test_the_table_ends_with_cause_and_remedy() -> None:
    lines = list(table([Hop("a", "ok", "1"), Hop("b -> c", "FAIL", "2: no answer", "why", "do")]))
    assert lines == [
        "ok      a       1",
        "FAIL    b -> c  2: no answer",
        "",
        "b -> c fails: 2: no answer",
        "  cause:  why",
        "  remedy: do",
    ]


def test_a_request_for_an_echo_has_a_checksum_that_comes_to_nothing() -> None:
    packet = probes.echo(4, 7, 1, b"odd")
    assert probes.checksum(packet) == b"\0\0"
    assert probes.echo(6, 7, 1, b"")[2:4] == b"\0\0"
