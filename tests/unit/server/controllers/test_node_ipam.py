"""Parts of the cluster's network for nodes."""

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.client.actions import Emit, Patch
from minikube_py.server.controllers.node_ipam import plan
from tests.frozen import freeze

NODE: Any = freeze({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {}})


def test_a_node_that_has_a_part_keeps_it() -> None:
    node = freeze({**NODE, "spec": {"podCIDR": "10.42.3.0/24"}})
    assert list(plan(node, [], "10.42.0.0/16")) == []


def test_a_full_network_is_said_to_be_full() -> None:
    (action,) = plan(NODE, ["10.42.0.0/24", "10.42.1.0/24"], "10.42.0.0/23")
    assert isinstance(action, Emit)
    assert action.reason == "CIDRNotAvailable"


@given(count=st.integers(1, 300))
def test_no_part_is_given_twice_and_none_overlap(count: int) -> None:
    taken: list[str] = []
    for _ in range(min(count, 16)):
        (action,) = plan(NODE, taken, "10.42.0.0/20")
        assert isinstance(action, Patch)
        taken.append(action.patch["spec"]["podCIDR"])
    networks = [ipaddress.ip_network(part) for part in taken]
    assert len(set(networks)) == len(networks)
    assert all(part.subnet_of(ipaddress.ip_network("10.42.0.0/20")) for part in networks)  # type: ignore[arg-type]
