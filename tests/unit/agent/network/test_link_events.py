"""Messages of the kernel about links are read, and nonsense does no harm."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.network.link_events import RTM_DELLINK, removed


def message(kind: int, name: str) -> bytes:
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), 3) + value
    attribute += b"\0" * (-len(attribute) % 4)
    other = struct.pack("=HHI", 8, 4, 1500)
    body = bytes(16) + other + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_links_that_go_are_named_and_others_are_not() -> None:
    data = message(16, "new") + message(RTM_DELLINK, "kpy-vxlan") + message(RTM_DELLINK, "veth1")
    assert list(removed(data)) == ["kpy-vxlan", "veth1"]


@given(st.binary(max_size=200))
def test_nonsense_is_read_to_its_end(data: bytes) -> None:
    assert isinstance(list(removed(data)), list)
