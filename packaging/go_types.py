"""Read the struct types of a Go program from its own type information.

A Go binary holds a description of every type that reflection can reach: for structs the fields
with their tags, such as `json:"name,omitempty" protobuf:"bytes,1,opt,name=name"`. That is where
upstream states which fields are left out when empty and which numbers they have in protobuf. The
layout is that of Go's `internal/abi` package for 64-bit little-endian programs, Go 1.24 and later.
"""

import functools
import struct
from dataclasses import dataclass
from typing import NamedTuple

_ARRAY, _MAP, _POINTER, _SLICE, _STRUCT = 17, 21, 22, 23, 25
_SCALARS = {
    1: "bool", 2: "int", 3: "int8", 4: "int16", 5: "int32", 6: "int64", 7: "uint", 8: "uint8",
    9: "uint16", 10: "uint32", 11: "uint64", 13: "float32", 14: "float64", 20: "interface",
    24: "string",
}  # fmt: skip
_HEADER = struct.Struct("<QQIBBBBQQii")
"""size, pointer bytes, hash, flags, align, field align, kind, equal, gc data, name, pointer type"""
_HEADER_BYTES = 48
_UNCOMMON, _EXTRA_STAR = 1, 2
"""Flags: the type has a package path; the stored name has a star too many."""
_HAS_TAG, _EMBEDDED = 2, 8
"""Flags of a name."""


class _Section(NamedTuple):
    address: int
    offset: int
    size: int


@dataclass(frozen=True)
class GoField:
    """A field of a struct."""

    name: str
    tag: str
    embedded: bool
    type: "GoType"

    def tag_value(self, key: str) -> str:
        """Return the tag's value of a key, "" where it has none."""
        _, found, rest = f" {self.tag}".partition(f' {key}:"')
        return rest.partition('"')[0] if found else ""


class GoType:
    """One type; what it consists of is read when asked for."""

    def __init__(self, program: "Program", address: int) -> None:
        self._program, self._address = program, address
        header = _HEADER.unpack_from(program.data, program.offset(address))
        self._flags, code, name = header[3], header[6] & 31, header[9]
        self.kind = {
            _ARRAY: "array", _MAP: "map", _POINTER: "pointer", _SLICE: "slice", _STRUCT: "struct",
        }.get(code) or _SCALARS.get(code, "other")  # fmt: skip
        text = program.name(program.types + name)[0]
        self.text = text[1:] if self._flags & _EXTRA_STAR else text
        """As reflection prints it: `v1.Pod`, `[]string`, `*int32`."""

    @property
    def element(self) -> "GoType":
        """What a pointer points to, a slice or a map holds."""
        at = _HEADER_BYTES + (8 if self.kind == "map" else 0)
        return self._program.type_at(self._program.pointer(self._address + at))

    @property
    def package(self) -> str:
        """The path of the package that defines the type, "" for unnamed types."""
        if not self._flags & _UNCOMMON:
            return ""
        sizes = {"struct": 80, "pointer": 56, "slice": 56, "array": 72, "interface": 80, "map": 112}
        at = self._program.offset(self._address + sizes.get(self.kind, _HEADER_BYTES))
        (name,) = struct.unpack_from("<i", self._program.data, at)
        return self._program.name(self._program.types + name)[0] if name else ""

    @property
    def fields(self) -> tuple[GoField, ...]:
        """The fields of a struct in their order."""
        program = self._program
        first, count = struct.unpack_from("<QQ", program.data, program.offset(self._address + 56))
        out = []
        for index in range(count):
            at = program.offset(first + 24 * index)
            name_at, type_at = struct.unpack_from("<QQ", program.data, at)
            name, tag, flags = program.name(name_at)
            out.append(GoField(name, tag, bool(flags & _EMBEDDED), program.type_at(type_at)))
        return tuple(out)


class Program:
    """A Go program's data."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._sections = _sections(data)
        self.types = self._sections[".rodata"].address
        self._types: dict[int, GoType] = {}

    def offset(self, address: int) -> int:
        """Return where in the file an address is."""
        for name in (".rodata", ".data", ".noptrdata"):
            section = self._sections[name]
            if section.address <= address < section.address + section.size:
                return address - section.address + section.offset
        raise ValueError(f"address {address:#x} is in no section of data")

    def pointer(self, address: int) -> int:
        """Return the address that is stored at an address."""
        (value,) = struct.unpack_from("<Q", self.data, self.offset(address))
        return int(value)

    def name(self, address: int) -> tuple[str, str, int]:
        """Return a name, its tag and its flags."""
        at = self.offset(address)
        flags = self.data[at]
        name, at = self._text(at + 1)
        tag = self._text(at)[0] if flags & _HAS_TAG else ""
        return name, tag, flags

    def _text(self, at: int) -> tuple[str, int]:
        size = shift = 0
        while True:
            byte = self.data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return self.data[at : at + size].decode(), at + size

    def type_at(self, address: int) -> GoType:
        """Return the type whose description is at an address."""
        if address not in self._types:
            self._types[address] = GoType(self, address)
        return self._types[address]

    @functools.cached_property
    def structs(self) -> dict[tuple[str, str], GoType]:
        """Named struct types by package and name, those that a pointer type in the index names."""
        index = self._sections[".typelink"]
        count = index.size // 4
        found = {}
        for place in struct.unpack_from(f"<{count}i", self.data, index.offset):
            pointer = self.type_at(self.types + place)
            if (
                pointer.kind == "pointer"
                and (to := pointer.element).kind == "struct"
                and to.package
            ):
                found[to.package, to.text.rpartition(".")[2]] = to
        return found


def _sections(data: bytes) -> dict[str, _Section]:
    """Return the sections of an ELF file by name."""
    (table,) = struct.unpack_from("<Q", data, 0x28)
    count, names_index = struct.unpack_from("<HH", data, 0x3C)
    headers = [struct.unpack_from("<IIQQQQ", data, table + 64 * i) for i in range(count)]
    names = headers[names_index][4]
    out = {}
    for name_at, _, _, address, offset, size in headers:
        start = names + name_at
        name = data[start : data.index(b"\0", start)].decode()
        out[name] = _Section(address, offset, size)
    return out
