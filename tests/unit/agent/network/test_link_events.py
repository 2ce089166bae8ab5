"""Messages of the kernel about links and routes are read, and nonsense does no harm."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.network.link_events import RTM_DELLINK, RTM_DELROUTE, RTM_NEWLINK, matters


def message(kind: int, name: str) -> bytes:
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), 3) + value
    attribute += b"\0" * (-len(attribute) % 4)
    other = struct.pack("=HHI", 8, 4, 1500)
    body = bytes(16) + other + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def route(kind: int, length: int, maker: int) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, length, 0, 0, 254, maker, 0, 1, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def of_ours(*messages: bytes) -> bool:
    return matters(b"".join(messages), {"kpy-vxlan"}, "eth0")


def test_links_of_ours_that_go_matter_and_others_do_not() -> None:
    others = (message(RTM_NEWLINK, "kpy-vxlan"), message(RTM_DELLINK, "veth1"))
    assert not of_ours(*others, message(RTM_NEWLINK, "veth2"))
    assert of_ours(*others, message(RTM_DELLINK, "kpy-vxlan"))


def test_whatever_happens_to_the_uplink_matters() -> None:
    assert of_ours(message(RTM_NEWLINK, "eth0"))
    assert of_ours(message(RTM_DELLINK, "eth0"))


def test_routes_of_ours_and_the_default_route_matter_when_they_go() -> None:
    assert not of_ours(route(RTM_DELROUTE, 24, 4), route(24, 24, 75), route(24, 0, 4))
    assert of_ours(route(RTM_DELROUTE, 24, 75))
    assert of_ours(route(RTM_DELROUTE, 0, 4))


@given(st.binary(max_size=200))
def test_nonsense_is_read_to_its_end(data: bytes) -> None:
    assert matters(data, {"kpy-vxlan"}, "eth0") in (True, False)
