"""The protobuf codec: bytes as the specification has them, and what was written is read back."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.lib.protowire import Codec, WireError

TABLE = {
    "Mode": {"enum": {"OFF": 0, "ON": 1}},
    "Inner": {"text": (1, "string"), "deeper": (2, "Inner")},
    "All": {
        "i32": (1, "int32"),
        "i64": (2, "int64"),
        "u32": (3, "uint32"),
        "u64": (4, "uint64"),
        "s32": (5, "sint32"),
        "s64": (6, "sint64"),
        "f32": (7, "fixed32"),
        "f64": (8, "sfixed64"),
        "real": (9, "double"),
        "flag": (10, "bool"),
        "text": (11, "string"),
        "data": (12, "bytes"),
        "mode": (13, "Mode"),
        "inner": (14, "Inner"),
        "numbers": (15, "int64", "repeated"),
        "words": (16, "string", "repeated"),
        "inners": (17, "Inner", "repeated"),
        "modes": (18, "Mode", "repeated"),
        "labels": (19, "map<string,string>"),
        "nested": (20, "map<int32,Inner>"),
        "choice": (21, "int64", "oneof which"),
    },
    "Newer": {"text": (11, "string"), "extra": (900, "Inner"), "more": (901, "fixed32")},
}
CODEC = Codec(TABLE)


def ints(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


INNERS = st.recursive(
    st.fixed_dictionaries({}, optional={"text": st.text(min_size=1)}),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"text": st.text(min_size=1), "deeper": inner}
    ),
    max_leaves=4,
)
VALUES = {
    "i32": ints(-(2**31), 2**31 - 1).filter(bool),
    "i64": ints(-(2**63), 2**63 - 1).filter(bool),
    "u32": ints(1, 2**32 - 1),
    "u64": ints(1, 2**64 - 1),
    "s32": ints(-(2**31), 2**31 - 1).filter(bool),
    "s64": ints(-(2**63), 2**63 - 1).filter(bool),
    "f32": ints(1, 2**32 - 1),
    "f64": ints(-(2**63), 2**63 - 1).filter(bool),
    "real": st.floats(allow_nan=False).filter(bool),
    "flag": st.just(value=True),
    "text": st.text(min_size=1),
    "data": st.binary(min_size=1),
    "mode": st.just("ON") | ints(7, 9),
    "inner": INNERS,
    "numbers": st.lists(ints(-(2**63), 2**63 - 1), min_size=1),
    "words": st.lists(st.text(), min_size=1),
    "inners": st.lists(INNERS, min_size=1),
    "modes": st.lists(st.sampled_from(["ON", "OFF"]), min_size=1),
    "labels": st.dictionaries(st.text(), st.text(), min_size=1),
    "nested": st.dictionaries(ints(-(2**31), 2**31 - 1), INNERS, min_size=1),
    "choice": ints(-5, 5),
}
MESSAGES = st.fixed_dictionaries({}, optional=VALUES)


@given(MESSAGES)
def test_what_was_encoded_is_decoded_again(message):
    assert CODEC.decode("All", CODEC.encode("All", message)) == message


@given(MESSAGES)
def test_a_message_cut_short_is_an_error_or_a_smaller_message(message):
    data = CODEC.encode("All", message)
    for end in range(len(data)):
        try:
            smaller = CODEC.decode("All", data[:end])
        except WireError:
            continue
        assert set(smaller) <= set(message)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_wire_error(data):
    try:
        message = CODEC.decode("All", data)
    except WireError:
        return
    assert isinstance(message, dict)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ({"i32": 150}, b"\x08\x96\x01"),
        ({"i32": -1}, b"\x08" + b"\xff" * 9 + b"\x01"),
        ({"s32": -1}, b"\x28\x01"),
        ({"text": "testing"}, b"\x5a\x07testing"),
        ({"inner": {"text": "a"}}, b"\x72\x03\x0a\x01a"),
        ({"numbers": [3, 270, 86942]}, b"\x7a\x06\x03\x8e\x02\x9e\xa7\x05"),
        ({"labels": {"a": "b"}}, b"\x9a\x01\x06\x0a\x01a\x12\x01b"),
        ({"real": 1.5}, b"\x49" + struct.pack("<d", 1.5)),
        ({"mode": "ON"}, b"\x68\x01"),
    ],
)
def test_the_bytes_are_those_of_the_specification(message, data):
    assert CODEC.encode("All", message) == data
    assert CODEC.decode("All", data) == message


def test_defaults_are_left_out():
    message = {"i32": 0, "flag": False, "text": "", "data": b"", "mode": "OFF", "words": []}
    assert CODEC.encode("All", message) == b""


def test_defaults_are_sent_where_presence_is_explicit():
    codec = Codec(TABLE, explicit_presence=True)
    message = {"i32": 0, "flag": False, "text": ""}
    assert codec.decode("All", codec.encode("All", message)) == message


def test_a_member_of_a_oneof_is_sent_even_as_zero():
    assert CODEC.decode("All", CODEC.encode("All", {"choice": 0})) == {"choice": 0}


def test_an_empty_message_is_sent_and_none_is_not():
    assert CODEC.encode("All", {"inner": {}}) == b"\x72\x00"
    assert CODEC.encode("All", {"inner": None}) == b""


def test_numbers_that_are_not_packed_are_read_too():
    assert CODEC.decode("All", b"\x78\x03\x78\x04") == {"numbers": [3, 4]}


def test_unknown_fields_are_skipped():
    data = CODEC.encode("Newer", {"extra": {"text": "x"}, "text": "kept", "more": 7})
    assert CODEC.decode("All", data) == {"text": "kept"}


def test_an_enum_value_of_a_newer_peer_stays_a_number():
    assert CODEC.decode("All", b"\x68\x05") == {"mode": 5}


def test_a_map_entry_may_lack_its_key_and_value():
    assert CODEC.decode("All", b"\x9a\x01\x00\xa2\x01\x00") == {
        "labels": {"": ""},
        "nested": {0: {}},
    }


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"i32": 2**31}, r"All\.i32: 2147483648 is not an integer between"),
        ({"u32": -1}, r"All\.u32: -1 is not an integer between 0"),
        ({"text": b"x"}, r"All\.text: bytes is not text"),
        ({"flag": 1}, r"All\.flag: 1 is not true or false"),
        ({"mode": "BROKEN"}, r"enum Mode has no 'BROKEN'"),
        ({"inner": {"txt": "x"}}, r"All\.inner: message Inner has no field 'txt'"),
        ({"inner": "x"}, r"All\.inner: "),
        ({"numbers": 3}, r"All\.numbers: "),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(message, error):
    with pytest.raises(WireError, match=error):
        CODEC.encode("All", message)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x08", "ends inside a number"),
        (b"\x08" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x5a\x05abc", "has 5 bytes, 3 are left"),
        (b"\x5a\x01\xff", "not UTF-8"),
        (b"\x49\x00", "ends inside a value"),
        (b"\x72\x02\x0a\x05", "has 5 bytes, 0 are left"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "field number 0"),
    ],
)
def test_broken_bytes_say_where(data, error):
    with pytest.raises(WireError, match=error):
        CODEC.decode("All", data)


def test_nesting_is_bounded():
    data = b""
    for _ in range(200):
        data = b"\x12" + _length(data) + data
    with pytest.raises(WireError, match="nested deeper than 100"):
        CODEC.decode("Inner", data)


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size >= 0x80:
        out += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return out + bytes((size,))


def test_a_message_that_the_table_lacks_is_an_error():
    with pytest.raises(WireError, match="no message 'Nothing'"):
        CODEC.decode("Nothing", b"")
    with pytest.raises(WireError, match="no type 'Gone'"):
        Codec({"A": {"b": (1, "Gone")}}).encode("A", {"b": 1})
