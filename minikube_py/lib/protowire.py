"""Protocol buffers from a table: messages are data, so there is no generated code.

A table says `{message: {field: (number, type)}}`; the type is a scalar's name, the name of another
message or enum in the table, or `map<key,value>`. A third word is the label: `repeated`, or
`oneof NAME` for fields that are sent whenever they are set. An enum is `{"enum": {name: number}}`.

Values are plain dicts. What is absent on the wire is absent in the dict and the other way round,
so that a reader decides what absence means. Enums are their names, or the number where the table
does not know it. On the wire a field is a tag (number and wire type) and its value; each field of a
message is compiled once, at the first use of that message, into the reader of its tag and the
writer of its name (https://protobuf.dev/programming-guides/encoding/).
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Messages = Mapping[str, Mapping[str, Any]]
Reader = Callable[[bytes, int, int, int], tuple[Any, int]]
"""(data, position, end, depth) -> (value, next position)"""
Writer = Callable[[Any], bytes]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
DEPTH_MAX = 100
"""Messages inside messages, as the other implementations bound it."""
VARINT_BYTES_MAX = 10
"""64 bits in groups of seven."""


class WireError(ValueError):
    """Bytes that are no message of that type, or a value that does not fit its field."""


class _Kind(NamedTuple):
    """How one type is read and written, without its tag."""

    wire: int
    read: Reader
    write: Writer
    default: Any
    """The value that proto3 leaves out; None for messages, which are always sent."""


@dataclass(frozen=True)
class _Slot:
    """A field of a compiled message."""

    name: str
    number: int
    kind: _Kind
    repeated: bool
    always: bool
    """Sent even where it is the default of its type."""
    key: _Kind | None = None
    """The kind of a map's keys; `kind` is that of its values."""


class _Plan(NamedTuple):
    """A compiled message."""

    by_tag: dict[int, Callable[[dict[str, Any], bytes, int, int, int], int]]
    by_name: dict[str, Callable[[Any], bytes]]


class Adapter(NamedTuple):
    """What a message is outside, where that is not the dict of its fields."""

    from_message: Callable[[dict[str, Any]], Any]
    to_message: Callable[[Any], Mapping[str, Any]]


class Codec:
    """Encodes and decodes the messages of one table."""

    def __init__(
        self,
        messages: Messages,
        *,
        explicit_presence: bool = False,
        adapter: Callable[[str], Adapter | None] = lambda _name: None,
    ) -> None:
        """Take a table; with `explicit_presence` (proto2) whatever a dict holds is sent.

        `adapter` finds how a message is shown; it is asked once for each field of that type.
        """
        self._messages = messages
        self._explicit = explicit_presence
        self._adapter = adapter
        self._plans: dict[str, _Plan] = {}

    def encode(self, name: str, message: Mapping[str, Any]) -> bytes:
        """Return the bytes of a message; raises WireError naming the field that does not fit."""
        by_name = self._plan(name).by_name
        parts = []
        for field, value in message.items():
            write = by_name.get(field)
            if write is None:
                raise WireError(f"message {name} has no field {field!r}")
            if value is None:
                continue
            try:
                parts.append(write(value))
            except WireError as error:
                raise WireError(f"{name}.{field}: {error}") from None
            except (TypeError, ValueError, AttributeError, struct.error) as error:
                raise WireError(f"{name}.{field}: {error}") from None
        return b"".join(parts)

    def decode(self, name: str, data: bytes) -> dict[str, Any]:
        """Return the message; unknown fields are skipped, bytes that end early raise WireError."""
        message, _ = self._read_message(name)(data, 0, len(data), 0)
        return message  # type: ignore[no-any-return]

    def _plan(self, name: str) -> _Plan:
        plan = self._plans.get(name)
        if plan is None:
            fields = self._messages.get(name)
            if fields is None or _is_enum(fields):
                raise WireError(f"there is no message {name!r} in the table")
            plan = self._plans[name] = _compile([self._slot(n, f) for n, f in fields.items()])
        return plan

    def _slot(self, name: str, field: Sequence[Any]) -> _Slot:
        number, kind, *rest = field
        label = rest[0] if rest else ""
        if kind.startswith("map<"):
            key, value = kind[4:-1].split(",", 1)
            inner = self._kind(value.strip())
            return _Slot(name, number, inner, repeated=False, always=True, key=self._kind(key))
        always = self._explicit or label.startswith("oneof")
        return _Slot(name, number, self._kind(kind), label == "repeated", always)

    def _kind(self, name: str) -> _Kind:
        if (scalar := SCALARS.get(name)) is not None:
            return scalar
        definition = self._messages.get(name)
        if definition is None:
            raise WireError(f"there is no type {name!r} in the table")
        if _is_enum(definition):
            return _enum(name, definition["enum"])
        return _Kind(LENGTH, self._read_nested(name), self._write_nested(name), None)

    def _write_nested(self, name: str) -> Writer:
        adapter = self._adapter(name)
        if adapter is not None:
            return lambda value: _delimited(self.encode(name, adapter.to_message(value)))

        def write(value: Any) -> bytes:
            return _delimited(self.encode(name, value))

        return write

    def _read_nested(self, name: str) -> Reader:
        read_message = self._read_message(name)
        adapter = self._adapter(name)

        def read(data: bytes, pos: int, end: int, depth: int) -> tuple[Any, int]:
            pos, stop = _extent(data, pos, end)
            message, pos = read_message(data, pos, stop, depth + 1)
            return message if adapter is None else adapter.from_message(message), pos

        return read

    def _read_message(self, name: str) -> Reader:
        def read(data: bytes, pos: int, end: int, depth: int) -> tuple[dict[str, Any], int]:
            if depth > DEPTH_MAX:
                raise WireError(f"message {name} is nested deeper than {DEPTH_MAX}")
            by_tag = self._plan(name).by_tag
            message: dict[str, Any] = {}
            while pos < end:
                tag = data[pos]
                pos += 1
                if tag >= 0x80:
                    tag, pos = _read_varint(data, pos - 1, end)
                put = by_tag.get(tag)
                pos = (
                    _skip(data, pos, end, tag)
                    if put is None
                    else put(message, data, pos, end, depth)
                )
            return message, pos

        return read


def _is_enum(definition: Mapping[str, Any]) -> bool:
    """Tell an enum from a message, which may have a field of that name."""
    return isinstance(definition.get("enum"), Mapping)


def _compile(slots: Sequence[_Slot]) -> _Plan:
    plan = _Plan({}, {})
    for slot in slots:
        tag = slot.number << 3
        if slot.key is not None:
            plan.by_tag[tag | LENGTH] = _put_entry(slot, slot.key)
            plan.by_name[slot.name] = _write_map(slot, slot.key)
        elif slot.repeated:
            plan.by_tag[tag | slot.kind.wire] = _append(slot)
            if slot.kind.wire != LENGTH:
                plan.by_tag[tag | LENGTH] = _extend(slot)
            plan.by_name[slot.name] = _write_list(slot)
        else:
            plan.by_tag[tag | slot.kind.wire] = _put(slot)
            plan.by_name[slot.name] = _write_one(slot)
    return plan


# --- reading a field into its message -----------------------------------------------------------


def _put(slot: _Slot) -> Callable[[dict[str, Any], bytes, int, int, int], int]:
    name, read = slot.name, slot.kind.read
    if slot.kind.default is not None:

        def put(message: dict[str, Any], data: bytes, pos: int, end: int, depth: int) -> int:
            message[name], pos = read(data, pos, end, depth)
            return pos

        return put

    def merge(message: dict[str, Any], data: bytes, pos: int, end: int, depth: int) -> int:
        value, pos = read(data, pos, end, depth)
        # A message that is sent twice is merged; only broken or very clever writers do that.
        both = isinstance(value, dict) and isinstance(message.get(name), dict)
        message[name] = {**message[name], **value} if both else value
        return pos

    return merge


def _append(slot: _Slot) -> Callable[[dict[str, Any], bytes, int, int, int], int]:
    name, read = slot.name, slot.kind.read

    def append(message: dict[str, Any], data: bytes, pos: int, end: int, depth: int) -> int:
        value, pos = read(data, pos, end, depth)
        message.setdefault(name, []).append(value)
        return pos

    return append


def _extend(slot: _Slot) -> Callable[[dict[str, Any], bytes, int, int, int], int]:
    name, read = slot.name, slot.kind.read

    def extend(message: dict[str, Any], data: bytes, pos: int, end: int, depth: int) -> int:
        pos, stop = _extent(data, pos, end)
        values = message.setdefault(name, [])
        while pos < stop:
            value, pos = read(data, pos, stop, depth)
            values.append(value)
        return pos

    return extend


def _put_entry(slot: _Slot, key: _Kind) -> Callable[[dict[str, Any], bytes, int, int, int], int]:
    name, value = slot.name, slot.kind
    absent: Any = {} if value.default is None else value.default
    readers = {8 | key.wire: (0, key.read), 16 | value.wire: (1, value.read)}

    def put(message: dict[str, Any], data: bytes, pos: int, end: int, depth: int) -> int:
        pos, stop = _extent(data, pos, end)
        entry = [key.default, absent]
        while pos < stop:
            tag, pos = _read_varint(data, pos, stop)
            if tag in readers:
                place, read = readers[tag]
                entry[place], pos = read(data, pos, stop, depth)
            else:
                pos = _skip(data, pos, stop, tag)
        message.setdefault(name, {})[entry[0]] = entry[1]
        return pos

    return put


# --- writing a field ----------------------------------------------------------------------------


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _write_one(slot: _Slot) -> Writer:
    tag, write, default = _tag(slot.number, slot.kind.wire), slot.kind.write, slot.kind.default
    default_bytes = None if default is None or slot.always else write(default)

    def write_one(value: Any) -> bytes:
        encoded = write(value)
        return b"" if encoded == default_bytes else tag + encoded

    return write_one


def _write_list(slot: _Slot) -> Writer:
    tag, write = _tag(slot.number, slot.kind.wire), slot.kind.write
    packed_tag = _tag(slot.number, LENGTH)

    def write_each(values: Any) -> bytes:
        return b"".join([tag + write(value) for value in values])

    def write_packed(values: Any) -> bytes:
        packed = b"".join([write(value) for value in values])
        return packed_tag + _delimited(packed) if packed else b""

    return write_each if slot.kind.wire == LENGTH else write_packed


def _write_map(slot: _Slot, key: _Kind) -> Writer:
    tag = _tag(slot.number, LENGTH)
    key_tag, value_tag = _tag(1, key.wire), _tag(2, slot.kind.wire)

    def write(entries: Any) -> bytes:
        return b"".join(
            [
                tag + _delimited(key_tag + key.write(k) + value_tag + slot.kind.write(v))
                for k, v in entries.items()
            ]
        )

    return write


# --- scalars ------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(pos, min(end, pos + VARINT_BYTES_MAX)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + 1
        shift += 7
    if end - pos >= VARINT_BYTES_MAX:
        raise WireError(f"number at byte {pos} is longer than {VARINT_BYTES_MAX} bytes")
    raise WireError(f"message ends inside a number at byte {pos}")


def _extent(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Return where a length-delimited value begins and ends."""
    if pos < end and data[pos] < 0x80:  # most are shorter than 128 bytes
        length, pos = data[pos], pos + 1
    else:
        length, pos = _read_varint(data, pos, end)
    if length > end - pos:
        raise WireError(f"value at byte {pos} has {length} bytes, {end - pos} are left")
    return pos, pos + length


def _skip(data: bytes, pos: int, end: int, tag: int) -> int:
    wire = tag & 7
    if tag >> 3 == 0:
        raise WireError(f"field number 0 before byte {pos}")
    if wire == VARINT:
        return _read_varint(data, pos, end)[1]
    if wire == LENGTH:
        return _extent(data, pos, end)[1]
    size = {FIXED64: 8, FIXED32: 4}.get(wire)
    if size is None:
        raise WireError(f"wire type {wire} before byte {pos} is not supported")
    if size > end - pos:
        raise WireError(f"message ends inside a value at byte {pos}")
    return pos + size


def _delimited(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _integer(bits: int, *, signed: bool) -> _Kind:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    mask, sign = (1 << bits) - 1, 1 << bits - 1

    def read(data: bytes, pos: int, end: int, _depth: int) -> tuple[int, int]:
        value, pos = _read_varint(data, pos, end)
        value &= mask
        return (value - (mask + 1) if signed and value & sign else value), pos

    def write(value: Any) -> bytes:
        if not isinstance(value, int) or not low <= value <= high:
            raise WireError(f"{value!r} is not an integer between {low} and {high}")
        # Negative numbers take ten bytes whatever their size, so that int32 and int64 agree.
        return _varint(value & 0xFFFF_FFFF_FFFF_FFFF)

    return _Kind(VARINT, read, write, 0)


def _zigzag(bits: int) -> _Kind:
    plain = _integer(bits, signed=False)

    def read(data: bytes, pos: int, end: int, depth: int) -> tuple[int, int]:
        value, pos = plain.read(data, pos, end, depth)
        return value >> 1 ^ -(value & 1), pos

    def write(value: Any) -> bytes:
        return plain.write(value << 1 if value >= 0 else ~value << 1 | 1)

    return _Kind(VARINT, read, write, 0)


def _packed_struct(form: str, default: float) -> _Kind:
    packer = struct.Struct("<" + form)

    def read(data: bytes, pos: int, end: int, _depth: int) -> tuple[Any, int]:
        if packer.size > end - pos:
            raise WireError(f"message ends inside a value at byte {pos}")
        return packer.unpack_from(data, pos)[0], pos + packer.size

    return _Kind(FIXED64 if packer.size == 8 else FIXED32, read, packer.pack, default)


def _read_bool(data: bytes, pos: int, end: int, _depth: int) -> tuple[bool, int]:
    value, pos = _read_varint(data, pos, end)
    return value != 0, pos


def _write_bool(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise WireError(f"{value!r} is not true or false")
    return b"\1" if value else b"\0"


def _read_string(data: bytes, pos: int, end: int, _depth: int) -> tuple[str, int]:
    pos, stop = _extent(data, pos, end)
    try:
        return data[pos:stop].decode(), stop
    except UnicodeDecodeError:
        raise WireError(f"text at byte {pos} is not UTF-8") from None


def _write_string(value: Any) -> bytes:
    if not isinstance(value, str):
        raise WireError(f"{type(value).__name__} is not text")
    return _delimited(value.encode())


def _read_bytes(data: bytes, pos: int, end: int, _depth: int) -> tuple[bytes, int]:
    pos, stop = _extent(data, pos, end)
    return data[pos:stop], stop


def _write_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise WireError(f"{type(value).__name__} is not bytes")
    return _delimited(value)


def _enum(name: str, numbers: Mapping[str, int]) -> _Kind:
    names = {number: word for word, number in reversed(list(numbers.items()))}
    integer = _integer(32, signed=True)

    def read(data: bytes, pos: int, end: int, depth: int) -> tuple[Any, int]:
        number, pos = integer.read(data, pos, end, depth)
        return names.get(number, number), pos

    def write(value: Any) -> bytes:
        number = numbers.get(value) if isinstance(value, str) else value
        if number is None:
            raise WireError(f"enum {name} has no {value!r}")
        return integer.write(number)

    return _Kind(VARINT, read, write, 0)


SCALARS: Mapping[str, _Kind] = {
    "int32": _integer(32, signed=True),
    "int64": _integer(64, signed=True),
    "uint32": _integer(32, signed=False),
    "uint64": _integer(64, signed=False),
    "sint32": _zigzag(32),
    "sint64": _zigzag(64),
    "fixed32": _packed_struct("I", 0),
    "fixed64": _packed_struct("Q", 0),
    "sfixed32": _packed_struct("i", 0),
    "sfixed64": _packed_struct("q", 0),
    "float": _packed_struct("f", 0.0),
    "double": _packed_struct("d", 0.0),
    "bool": _Kind(VARINT, _read_bool, _write_bool, default=False),
    "string": _Kind(LENGTH, _read_string, _write_string, ""),
    "bytes": _Kind(LENGTH, _read_bytes, _write_bytes, b""),
}
"""The kinds of the scalar types by name."""
