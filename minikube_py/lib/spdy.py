"""SPDY/3.1 frames: many streams of bytes in one connection, as container runtimes speak it.

The state of one side without any I/O: `receive` turns bytes into events, the other methods
return bytes to send. Kubernetes uses a part of the draft only (no priorities, no server push, no
flow control: the peers' implementation sends window updates to nobody), so what is not used is
skipped here as well. Source: SPDY Protocol, Draft 3.1 (draft-mbelshe-httpbis-spdy).
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

VERSION = 3
CONTROL = 0x80
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
FIN = 0x01
ID_MASK = 0x7FFFFFFF
FRAME_HEAD_BYTES = 8
CONTROL_MAX = 64 * 1024
"""Bytes of a control frame, and of its headers unpacked; ours are a hundred."""
DATA_MAX = 32 * 1024
"""Bytes of data that go in one frame, so that streams take turns."""
STREAMS_MAX = 1000
"""Streams that may be open at once; a port-forward opens two for each connection."""
CANCEL = 5
"""Status of RST_STREAM: the sender no longer wants the stream."""

_WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language
accept-ranges age allow authorization cache-control connection content-base content-encoding
content-language content-length content-location content-md5 content-range content-type date etag
expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since
last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer
retry-after server te trailer transfer-encoding upgrade user-agent vary via warning
www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie
keep-alive origin
"""
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """Return what both sides' compressors know beforehand (2.6.10.1); zlib checks it by sum."""
    words = (word.replace("_", " ").encode() for word in _WORDS.split())
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _TAIL.encode()


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """The peer does not speak SPDY/3.1, or goes over a bound; the connection cannot go on."""


@dataclass(frozen=True)
class StreamOpened:
    """The peer opened a stream; it waits for `reply`."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True)
class StreamReplied:
    """The peer accepted our stream."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True)
class DataReceived:
    """Some bytes of a stream; with `fin` the peer sends no more on it."""

    stream_id: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True)
class StreamReset:
    """The peer gave a stream up, both ways."""

    stream_id: int
    status: int


@dataclass(frozen=True)
class Pinged:
    """The peer asks whether we live; it waits for `pong` with the same number."""

    number: int


@dataclass(frozen=True)
class GoneAway:
    """The peer accepts no new streams."""

    last_stream_id: int


Event = StreamOpened | StreamReplied | DataReceived | StreamReset | Pinged | GoneAway


@dataclass
class _Data:
    """A data frame whose bytes are still coming; they are handed on as they come."""

    stream_id: int
    left: int
    fin: bool


@dataclass
class Session:
    """One side of a connection."""

    client: bool
    _buffer: bytearray = field(default_factory=bytearray)
    _data: _Data | None = None
    _next_id: int = 0
    _peer_streams: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._next_id = 1 if self.client else 2
        self._pack = zlib.compressobj(zdict=DICTIONARY)
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)

    def open(self, headers: Mapping[str, str], *, fin: bool = False) -> tuple[int, bytes]:
        """Open a stream; return its number and what to send."""
        stream_id = self._next_id
        self._next_id += 2
        body = struct.pack(">IIBB", stream_id, 0, 0, 0) + self._packed(headers)
        return stream_id, _control(SYN_STREAM, body, FIN if fin else 0)

    def reply(self, stream_id: int, headers: Mapping[str, str] | None = None) -> bytes:
        """Accept a stream of the peer."""
        return _control(SYN_REPLY, struct.pack(">I", stream_id) + self._packed(headers or {}))

    def data(self, stream_id: int, data: bytes, *, fin: bool = False) -> bytes:
        """Send bytes on a stream; with `fin` no more follow from this side."""
        pieces = [data[at : at + DATA_MAX] for at in range(0, len(data), DATA_MAX)] or [b""]
        frames = bytearray()
        for index, piece in enumerate(pieces):
            flags = FIN if fin and index == len(pieces) - 1 else 0
            frames += struct.pack(">II", stream_id, flags << 24 | len(piece)) + piece
        return bytes(frames)

    def reset(self, stream_id: int, status: int = CANCEL) -> bytes:
        """Give a stream up, both ways."""
        self._peer_streams.discard(stream_id)
        return _control(RST_STREAM, struct.pack(">II", stream_id, status))

    def forget(self, stream_id: int) -> None:
        """Count a stream of the peer as closed; call it when both sides have finished."""
        self._peer_streams.discard(stream_id)

    def pong(self, number: int) -> bytes:
        """Answer a ping."""
        return _control(PING, struct.pack(">I", number))

    def go_away(self) -> bytes:
        """Say that no new streams are accepted."""
        return _control(GOAWAY, struct.pack(">II", max(self._peer_streams, default=0), 0))

    def receive(self, data: bytes) -> Iterator[Event]:
        """Take bytes of the peer and yield what they say; must be read to the end.

        Raises:
            SpdyError: they are not SPDY/3.1.

        """
        self._buffer += data
        while True:
            if self._data is not None:
                event = self._take_data(self._data)
                if event is None:
                    return
                yield event
                continue
            if len(self._buffer) < FRAME_HEAD_BYTES:
                return
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if not self._buffer[0] & CONTROL:
                del self._buffer[:FRAME_HEAD_BYTES]
                self._data = _Data(first, length, bool(flags & FIN))
                continue
            kind = _control_kind(first, length)
            if len(self._buffer) < FRAME_HEAD_BYTES + length:
                return
            body = bytes(self._buffer[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + length])
            del self._buffer[: FRAME_HEAD_BYTES + length]
            yield from self._control_events(kind, flags, body)

    def _take_data(self, frame: _Data) -> DataReceived | None:
        piece = bytes(self._buffer[: frame.left])
        if not piece and frame.left:
            return None
        del self._buffer[: len(piece)]
        frame.left -= len(piece)
        if not frame.left:
            self._data = None
        return DataReceived(frame.stream_id, piece, frame.fin and not frame.left)

    def _control_events(self, kind: int, flags: int, body: bytes) -> Iterator[Event]:
        fin = bool(flags & FIN)
        try:
            if kind == SYN_STREAM:
                stream_id = struct.unpack_from(">I", body)[0] & ID_MASK
                yield StreamOpened(self._opened(stream_id), self._unpacked(body[10:]), fin)
            elif kind == SYN_REPLY:
                stream_id = struct.unpack_from(">I", body)[0] & ID_MASK
                yield StreamReplied(stream_id, self._unpacked(body[4:]), fin)
            elif kind == HEADERS:
                # Nothing is said in them, but the decompressor has to see every block.
                self._unpacked(body[4:])
            else:
                yield from self._short_events(kind, body)
        except struct.error as error:
            raise SpdyError(f"control frame of type {kind} is too short") from error

    def _short_events(self, kind: int, body: bytes) -> Iterator[Event]:
        if kind == RST_STREAM:
            stream_id, status = struct.unpack_from(">II", body)
            self._peer_streams.discard(stream_id & ID_MASK)
            yield StreamReset(stream_id & ID_MASK, status)
        elif kind == PING:
            (number,) = struct.unpack_from(">I", body)
            # The two sides count with odd and even numbers: one of ours is an answer.
            if bool(number % 2) != self.client:
                yield Pinged(number)
        elif kind == GOAWAY:
            yield GoneAway(struct.unpack_from(">I", body)[0] & ID_MASK)

    def _opened(self, stream_id: int) -> int:
        if len(self._peer_streams) >= STREAMS_MAX:
            raise SpdyError(f"more than {STREAMS_MAX} streams at once")
        self._peer_streams.add(stream_id)
        return stream_id

    def _packed(self, headers: Mapping[str, str]) -> bytes:
        block = bytearray(struct.pack(">I", len(headers)))
        for pair in headers.items():
            for text in (pair[0].lower().encode(), pair[1].encode()):
                block += struct.pack(">I", len(text)) + text
        return self._pack.compress(bytes(block)) + self._pack.flush(zlib.Z_SYNC_FLUSH)

    def _unpacked(self, packed: bytes) -> dict[str, str]:
        try:
            block = self._unpack.decompress(packed, CONTROL_MAX)
        except zlib.error as error:
            raise SpdyError(f"headers cannot be unpacked: {error}") from error
        if self._unpack.unconsumed_tail:
            raise SpdyError(f"headers are longer than {CONTROL_MAX} bytes")
        texts = iter(_texts(block))
        return dict(zip(texts, texts, strict=True))


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", CONTROL << 8 | VERSION, kind, flags << 24 | len(body)) + body


def _control_kind(head: int, length: int) -> int:
    version, kind = head >> 16 & 0x7FFF, head & 0xFFFF
    if version != VERSION:
        raise SpdyError(f"SPDY version {version}, not {VERSION}")
    if length > CONTROL_MAX:
        raise SpdyError(f"control frame of {length} bytes is longer than {CONTROL_MAX}")
    return kind


def _texts(block: bytes) -> Iterator[str]:
    """Yield names and values in turn."""
    (count,) = struct.unpack_from(">I", block)
    at = 4
    for _ in range(2 * count):
        (length,) = struct.unpack_from(">I", block, at)
        at += 4
        if at + length > len(block):
            raise SpdyError("headers end in the middle")
        yield block[at : at + length].decode(errors="replace")
        at += length
