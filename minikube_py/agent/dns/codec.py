"""DNS messages as bytes (RFC 1035, 2782, 6891), as far as a server of one zone needs them."""

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 16, 28, 33, 41
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F
HEADER_BYTES = 12
NAME_MAX = 255
PLAIN_MAX = 512
"""Bytes of an answer to a client that does not say what it can take."""
EDNS_MAX = 1232
"""Bytes of an answer that no network splits up (DNS flag day 2020)."""
POINTER = 0xC0
QUESTION_POINTER = b"\xc0\x0c"
"""Refers to the name in the question, which always begins after the header."""

Labels = tuple[str, ...]
"""A name, in lower case, without the root."""


class FormatError(Exception):
    """The bytes are no DNS message."""


class Query(NamedTuple):
    """A question that a server can answer."""

    id: int
    flags: int
    labels: Labels
    type: int
    qclass: int
    question: bytes
    """The question as it came: it goes back with the capitals that the client chose."""
    limit: int
    """Bytes that the client takes in a datagram."""
    edns: bool
    raw: bytes


class Record(NamedTuple):
    """A resource record of class IN; names inside `data` are not compressed."""

    labels: Labels
    type: int
    ttl: int
    data: bytes


class Answer(NamedTuple):
    """What a server says to a question."""

    rcode: int = NOERROR
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True


def name_bytes(labels: Labels) -> bytes:
    """Return a name as it stands in a message."""
    parts = [label.encode("latin-1") for label in labels]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def address_record(labels: Labels, address: str, ttl: int) -> Record:
    """Return an A or AAAA record."""
    packed = ipaddress.ip_address(address).packed
    return Record(labels, A if len(packed) == 4 else AAAA, ttl, packed)


def srv_data(port: int, target: Labels, weight: int) -> bytes:
    """Return the data of an SRV record of the highest priority."""
    return struct.pack(">HHH", 0, weight, port) + name_bytes(target)


def text_data(text: str) -> bytes:
    """Return the data of a TXT record of one string."""
    return bytes([len(text)]) + text.encode()


def soa_data(primary: Labels, mailbox: Labels, serial: int, negative_ttl: int) -> bytes:
    """Return the data of an SOA record; the times are CoreDNS' for transfers nobody makes."""
    times = struct.pack(">IIIII", serial, 7200, 1800, 86400, negative_ttl)
    return name_bytes(primary) + name_bytes(mailbox) + times


def read_name(message: bytes, at: int) -> tuple[Labels, int]:
    """Return the name that begins at an offset, and where it ends.

    Raises:
        FormatError: it goes over the message's end or the limit, or in circles.

    """
    labels: list[str] = []
    end, size = -1, 0
    while True:
        if at >= len(message):
            raise FormatError("name goes over the end")
        length = message[at]
        if length & POINTER == POINTER:
            if at + 1 >= len(message):
                raise FormatError("pointer goes over the end")
            end = at + 2 if end < 0 else end
            target = (length & 0x3F) << 8 | message[at + 1]
            if target >= at:
                raise FormatError("pointer does not go back")
            at = target
            continue
        at += 1
        if length == 0:
            return tuple(labels), at if end < 0 else end
        size += length + 1
        if length & POINTER or size > NAME_MAX or at + length > len(message):
            raise FormatError("label is too long")
        labels.append(message[at : at + length].decode("latin-1").lower())
        at += length


def read_query(message: bytes) -> Query:
    """Return the question of a client.

    Raises:
        FormatError: it is no question, or not exactly one.

    """
    if len(message) < HEADER_BYTES:
        raise FormatError("shorter than a header")
    number, flags, questions, *_, additional = struct.unpack_from(">6H", message)
    if flags & QR or questions != 1:
        raise FormatError("not one question")
    labels, at = read_name(message, HEADER_BYTES)
    if at + 4 > len(message):
        raise FormatError("question goes over the end")
    kind, qclass = struct.unpack_from(">HH", message, at)
    limit = _edns_limit(message, at + 4) if additional else 0
    return Query(
        id=number,
        flags=flags,
        labels=labels,
        type=kind,
        qclass=qclass,
        question=message[HEADER_BYTES : at + 4],
        limit=max(PLAIN_MAX, min(limit, EDNS_MAX)),
        edns=bool(limit),
        raw=message,
    )


def _edns_limit(message: bytes, at: int) -> int:
    """Return the size that an OPT record after the question names, 0 where there is none."""
    if at + 11 > len(message) or message[at] != 0:
        return 0
    kind, size = struct.unpack_from(">HH", message, at + 1)
    return max(size, PLAIN_MAX) if kind == OPT else 0


def write_answer(query: Query, answer: Answer, limit: int) -> bytes:
    """Return the message that answers a query, cut to the limit with the flag that says so."""
    sections = (answer.records, answer.authority, answer.additional)
    wires = [[_record_bytes(record, query.labels) for record in section] for section in sections]
    opt = b"\0" + struct.pack(">HHIH", OPT, EDNS_MAX, 0, 0) if query.edns else b""
    room = limit - HEADER_BYTES - len(query.question) - len(opt)
    flags = QR | RA | (query.flags & (RD | OPCODE_MASK)) | answer.rcode
    if answer.authoritative:
        flags |= AA
    while sum(len(wire) for section in wires for wire in section) > room:
        # What is only help goes without a word, what was asked for with one.
        section = next(section for section in reversed(wires) if section)
        section.pop()
        if section is wires[0]:
            flags |= TC
    counts = [len(section) for section in wires]
    counts[2] += bool(opt)
    header = struct.pack(">6H", query.id, flags, 1, *counts)
    return header + query.question + b"".join(b"".join(section) for section in wires) + opt


def write_error(message: bytes, rcode: int) -> bytes:
    """Return the answer to a message of which no more than the header is understood."""
    number, flags = struct.unpack_from(">HH", message)
    return struct.pack(">6H", number, QR | RA | (flags & (RD | OPCODE_MASK)) | rcode, 0, 0, 0, 0)


def write_query(number: int, labels: Labels, kind: int) -> bytes:
    """Return a question for another server, with EDNS."""
    head = struct.pack(">6H", number, RD, 1, 0, 0, 1)
    question = name_bytes(labels) + struct.pack(">HH", kind, IN)
    return head + question + b"\0" + struct.pack(">HHIH", OPT, EDNS_MAX, 0, 0)


def _record_bytes(record: Record, asked: Labels) -> bytes:
    name = QUESTION_POINTER if record.labels == asked else name_bytes(record.labels)
    return name + struct.pack(">HHIH", record.type, IN, record.ttl, len(record.data)) + record.data


class Found(NamedTuple):
    """A record of a message of another server."""

    labels: Labels
    type: int
    ttl: int
    ttl_at: int
    data_at: int
    data_end: int
    section: int
    """0 for an answer, 1 for authority, 2 for additional."""


def read_records(message: bytes) -> Iterator[Found]:
    """Yield the records of an answer.

    Raises:
        FormatError: the message is cut or wrong.

    """
    if len(message) < HEADER_BYTES:
        raise FormatError("shorter than a header")
    _, _, questions, *counts = struct.unpack_from(">6H", message)
    at = HEADER_BYTES
    for _ in range(questions):
        _, at = read_name(message, at)
        at += 4
    for section, count in enumerate(counts):
        for _ in range(count):
            labels, at = read_name(message, at)
            if at + 10 > len(message):
                raise FormatError("record goes over the end")
            kind, _, ttl, length = struct.unpack_from(">HHIH", message, at)
            end = at + 10 + length
            if end > len(message):
                raise FormatError("record goes over the end")
            yield Found(labels, kind, ttl, at + 4, at + 10, end, section)
            at = end


def question_of(message: bytes) -> bytes:
    """Return the question of a message in lower case, to compare.

    Raises:
        FormatError: there is none.

    """
    _, at = read_name(message, HEADER_BYTES)
    return message[HEADER_BYTES : at + 4].lower()


def truncated(message: bytes) -> bytes:
    """Return the message without its records, with the flag that says so."""
    _, at = read_name(message, HEADER_BYTES)
    number, flags = struct.unpack_from(">HH", message)
    return struct.pack(">6H", number, flags | TC, 1, 0, 0, 0) + message[HEADER_BYTES : at + 4]


def joined(labels: Sequence[str]) -> str:
    """Return a name as people write it."""
    return ".".join(labels)
