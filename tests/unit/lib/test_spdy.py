"""Two SPDY sessions understand each other however their bytes are cut up, and bounds hold."""

import itertools
import struct
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.lib import spdy

HEADERS = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1),
    st.text(max_size=50),
    max_size=5,
)


def heard(session: spdy.Session, data: bytes, cuts: Iterable[int] = ()) -> list[spdy.Event]:
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    return [event for piece in pieces for event in session.receive(piece)]


def test_the_dictionary_is_that_of_the_draft() -> None:
    # The identifier that zlib writes into every SPDY/3 stream.
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(headers=st.lists(HEADERS, min_size=1, max_size=4))
def test_headers_arrive_as_they_were_sent_block_after_block(headers: list[dict[str, str]]) -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    for number, block in enumerate(headers):
        stream_id, data = client.open(block)
        assert heard(server, data) == [spdy.StreamOpened(2 * number + 1, block)]
        assert heard(client, server.reply(stream_id, block)) == [
            spdy.StreamReplied(stream_id, block)
        ]


@given(
    sent=st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=100)), max_size=20),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_every_stream_gets_its_bytes_in_order_however_they_are_cut(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    opened = [client.open({"n": str(number)}) for number in range(3)]
    wire = b"".join(data for _, data in opened)
    for number, piece in sent:
        wire += client.data(opened[number][0], piece)
    wire += b"".join(client.data(stream_id, b"", fin=True) for stream_id, _ in opened)
    events = heard(server, wire, [cut for cut in cuts if cut < len(wire)])
    for number, (stream_id, _) in enumerate(opened):
        mine = [e for e in events if isinstance(e, spdy.DataReceived) and e.stream_id == stream_id]
        assert b"".join(e.data for e in mine) == b"".join(p for n, p in sent if n == number)
        assert [e.fin for e in mine].count(True) == 1
        assert mine[-1].fin


def test_long_data_goes_in_frames_that_let_other_streams_take_turns() -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    stream_id, opening = client.open({})
    payload = bytes(3 * spdy.DATA_MAX + 1)
    events = heard(server, opening + client.data(stream_id, payload, fin=True))
    pieces = [event for event in events if isinstance(event, spdy.DataReceived)]
    assert [len(piece.data) for piece in pieces] == [spdy.DATA_MAX] * 3 + [1]
    assert [piece.fin for piece in pieces] == [False, False, False, True]


def test_data_is_handed_on_before_its_frame_is_complete() -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    stream_id, opening = client.open({})
    frame = client.data(stream_id, b"x" * 1000, fin=True)
    heard(server, opening)
    assert heard(server, frame[:500]) == [spdy.DataReceived(stream_id, b"x" * 492)]
    assert heard(server, frame[500:]) == [spdy.DataReceived(stream_id, b"x" * 508, fin=True)]


def test_a_ping_of_the_peer_is_heard_and_an_answer_is_not() -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    assert heard(server, client.pong(1)) == [spdy.Pinged(1)]
    assert heard(client, server.pong(1)) == []


def test_a_reset_and_a_goodbye_are_heard() -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    stream_id, opening = client.open({})
    heard(server, opening)
    assert heard(client, server.reset(stream_id)) == [spdy.StreamReset(stream_id, spdy.CANCEL)]
    assert heard(client, server.go_away()) == [spdy.GoneAway(0)]


def test_frames_that_are_not_used_are_skipped() -> None:
    settings = struct.pack(">HHII", 0x8003, 4, 4, 0)
    window = struct.pack(">HHIII", 0x8003, 9, 8, 1, 1000)
    assert heard(spdy.Session(client=True), settings + window) == []


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (struct.pack(">HHI", 0x8002, 1, 0), "version 2, not 3"),
        (struct.pack(">HHI", 0x8003, 1, 0xFFFFFF), "longer than"),
        (struct.pack(">HHI", 0x8003, 3, 0), "too short"),
        (struct.pack(">HHI", 0x8003, 1, 20) + bytes(20), "cannot be unpacked"),
    ],
)
def test_what_is_not_spdy_is_refused(wire: bytes, complaint: str) -> None:
    with pytest.raises(spdy.SpdyError, match=complaint):
        heard(spdy.Session(client=False), wire)


def test_headers_that_unpack_to_too_much_are_refused() -> None:
    _, wire = spdy.Session(client=True).open({"bomb": "x" * 200_000})
    with pytest.raises(spdy.SpdyError, match="headers are longer"):
        heard(spdy.Session(client=False), wire)


def test_a_peer_may_not_open_streams_without_end() -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    wire = b"".join(client.open({})[1] for _ in range(spdy.STREAMS_MAX + 1))
    with pytest.raises(spdy.SpdyError, match="more than 1000 streams"):
        heard(server, wire)


def test_streams_that_both_sides_have_finished_are_not_counted() -> None:
    client, server = spdy.Session(client=True), spdy.Session(client=False)
    for _ in range(spdy.STREAMS_MAX + 1):
        stream_id, opening = client.open({})
        heard(server, opening)
        server.forget(stream_id)
