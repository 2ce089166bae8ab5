"""The wire format of D-Bus, as much of it as services of the system speak: pure.

https://dbus.freedesktop.org/doc/dbus-specification.html, "Marshaling (Wire Format)": values are
aligned to their own size, counted from the begin of the message; a signature says what they are.
Only little endian is written; both are read.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CALL, ANSWER, ERROR, SIGNAL = 1, 2, 3, 4
FIELDS: Mapping[str, tuple[int, str]] = {
    "path": (1, "o"),
    "interface": (2, "s"),
    "member": (3, "s"),
    "error_name": (4, "s"),
    "reply_serial": (5, "u"),
    "destination": (6, "s"),
    "sender": (7, "s"),
    "signature": (8, "g"),
    "unix_fds": (9, "u"),
}
NAMES = {number: name for name, (number, _) in FIELDS.items()}
FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d",
         "h": "I"}  # fmt: skip
ALIGNMENT = {"s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8, "{": 8}
HEAD_BYTES = 16
MESSAGE_BYTES_MAX = 1 << 20
"""The protocol allows 128 MiB; nothing that is spoken here comes near."""


class DbusError(Exception):
    """The bus answered with an error, or with something that is no message."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message."""

    kind: int
    serial: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    body: Sequence[Any] = ()


def types_of(signature: str) -> Iterator[str]:
    """Yield the single types that a signature is made of."""
    while signature:
        end = _end(signature, 0)
        yield signature[:end]
        signature = signature[end:]


def _end(signature: str, at: int) -> int:
    """Return where the type that begins at `at` ends."""
    letter = signature[at : at + 1]
    if letter == "a":
        return _end(signature, at + 1)
    if letter in ("(", "{"):
        at += 1
        while signature[at : at + 1] not in (")", "}"):
            at = _end(signature, at)
        return at + 1
    if letter not in FIXED and letter not in ("s", "o", "g", "v"):
        raise DbusError(f"signature {signature!r} is not understood")
    return at + 1


class Writer:
    """Collects values."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, kind: str, value: Any) -> None:
        """Append one value of a single type."""
        letter = kind[0]
        if letter in FIXED:
            self._fixed(FIXED[letter], value)
        elif letter in "so":
            raw = str(value).encode()
            self._fixed("I", len(raw))
            self.data += raw + b"\0"
        elif letter == "g":
            raw = str(value).encode()
            self.data += bytes([len(raw)]) + raw + b"\0"
        elif letter == "v":
            self.write("g", value[0])
            self.write(value[0], value[1])
        elif letter == "a":
            self._array(kind[1:], value)
        else:
            self.align(8)
            for part, one in zip(types_of(kind[1:-1]), value, strict=True):
                self.write(part, one)

    def align(self, size: int) -> None:
        """Fill up with zeros."""
        self.data += bytes(-len(self.data) % size)

    def _fixed(self, code: str, value: Any) -> None:
        self.align(struct.calcsize(code))
        self.data += struct.pack(f"<{code}", value)

    def _array(self, kind: str, values: Sequence[Any]) -> None:
        self._fixed("I", 0)
        place = len(self.data) - 4
        self.align(_alignment(kind))
        begin = len(self.data)
        for value in values:
            self.write(kind, value)
        struct.pack_into("<I", self.data, place, len(self.data) - begin)


def _alignment(kind: str) -> int:
    return ALIGNMENT.get(kind[0]) or struct.calcsize(FIXED[kind[0]])


class Reader:
    """Takes values apart."""

    def __init__(self, data: bytes, order: str = "<", at: int = 0) -> None:
        self._data = data
        self._order = order
        self.at = at

    def read(self, kind: str) -> Any:
        """Return the next value, of a single type."""
        letter = kind[0]
        if letter in FIXED:
            value = self._fixed(FIXED[letter])
            return bool(value) if letter == "b" else value
        if letter in "so":
            return self._text(self._fixed("I"))
        if letter == "g":
            return self._text(self._fixed("B"))
        if letter == "v":
            return self.read(self._text(self._fixed("B")))
        if letter == "a":
            return self._array(kind[1:])
        self.align(8)
        return [self.read(part) for part in types_of(kind[1:-1])]

    def align(self, size: int) -> None:
        """Go on to where the next value begins."""
        self.at += -self.at % size

    def _fixed(self, code: str) -> Any:
        self.align(struct.calcsize(code))
        (value,) = struct.unpack_from(self._order + code, self._data, self.at)
        self.at += struct.calcsize(code)
        return value

    def _text(self, length: int) -> str:
        raw = self._data[self.at : self.at + length]
        self.at += length + 1
        return raw.decode()

    def _array(self, kind: str) -> list[Any]:
        length = self._fixed("I")
        self.align(_alignment(kind))
        end, found = self.at + length, []
        while self.at < end:
            found.append(self.read(kind))
        return found


def encode(message: Message) -> bytes:
    """Return the bytes of a message; its signature must stand in its fields."""
    body = Writer()
    for kind, value in zip(
        types_of(message.fields.get("signature", "")), message.body, strict=True
    ):
        body.write(kind, value)
    head = Writer()
    for kind, number in zip("yyyyuu", (0x6C, message.kind, 0, 1, len(body.data), message.serial),
                            strict=True):  # fmt: skip
        head.write(kind, number)
    fields = [(FIELDS[name][0], (FIELDS[name][1], value)) for name, value in message.fields.items()]
    head.write("a(yv)", fields)
    head.align(8)
    return bytes(head.data + body.data)


def length_of(head: bytes) -> int:
    """Return how long the message is that begins with these HEAD_BYTES; raises DbusError."""
    order = _order(head)
    (body,) = struct.unpack_from(f"{order}I", head, 4)
    (fields,) = struct.unpack_from(f"{order}I", head, 12)
    length: int = HEAD_BYTES + fields + (-fields % 8) + body
    if length > MESSAGE_BYTES_MAX:
        raise DbusError(f"a message of {length} bytes is too long")
    return length


def decode(data: bytes) -> Message:
    """Return a whole message; raises DbusError."""
    try:
        reader = Reader(data, _order(data))
        _, kind, _, _, _, serial = (reader.read(letter) for letter in "yyyyuu")
        fields = {NAMES[n]: value for n, value in reader.read("a(yv)") if n in NAMES}
        reader.align(8)
        body = [reader.read(one) for one in types_of(fields.get("signature", ""))]
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise DbusError(f"not a message: {error}") from None
    return Message(kind=kind, serial=serial, fields=fields, body=body)


def _order(data: bytes) -> str:
    orders = {ord("l"): "<", ord("B"): ">"}
    if not data or data[0] not in orders:
        raise DbusError("not a message of D-Bus")
    return orders[data[0]]
