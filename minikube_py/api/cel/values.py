"""Values: plain JSON and, where JSON has no word for it, one small class each.

int, float, str, bool, None, bytes, lists and mappings stand for themselves; an unsigned integer is
a `Uint`; a type is a `types.Type`. Library types (quantities, addresses ...) are `Opaque`. A key
that is a bool is kept as a tuple of one, since Python takes True for 1.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api.cel.types import NAMED, Type

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1
NANO: Final = 1_000_000_000


class Uint(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970 (UTC)."""

    nanos: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in nanoseconds."""

    nanos: int


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be absent."""

    value: Any = None
    present: bool = False


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of a library's type; equal where type and value are."""

    type: Type
    value: Any


class Message(dict[str, Any]):
    """An object that an expression made (`Name{field: value}`); a map that knows its type."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.type_name = type_name


class KeyedList(list[Any]):
    """A list whose elements have an identity: in a set all of them, in a map some keys of each.

    Two are equal whatever their order; the sum of two keeps the places of the first.
    """

    __slots__ = ("_places", "keys")

    def __init__(self, values: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(values)
        self.keys = keys
        self._places: dict[Any, int] | None = None

    def place_of(self, value: Any) -> int:
        """Return where the element of that identity stands, -1 where there is none."""
        if self._places is None:
            self._places = {self._identity(each): at for at, each in enumerate(self)}
        return self._places.get(self._identity(value), -1)

    def _identity(self, value: Any) -> Any:
        if self.keys and isinstance(value, Mapping):
            return tuple(_identity(value.get(key)) for key in self.keys)
        return _identity(value)

    def joined(self, others: Iterable[Any]) -> "KeyedList":
        """Return both: elements of the same identity are taken from the other list."""
        made = {self._identity(each): each for each in self}
        made |= {self._identity(each): each for each in others}
        return KeyedList(made.values(), self.keys)


def _identity(value: Any) -> Any:
    """Return what is equal for equal values, and can be looked up."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, Mapping):
        return frozenset((key, _identity(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_identity, value))
    return value


NONE: Final = Optional()
_KINDS: Final[Mapping[type, str]] = {
    bool: "bool", int: "int", Uint: "uint", float: "double", str: "string", bytes: "bytes",
    type(None): "null_type", list: "list", tuple: "list", dict: "map", Optional: "optional_type",
    KeyedList: "list",
    Timestamp: "google.protobuf.Timestamp", Duration: "google.protobuf.Duration", Type: "type",
}  # fmt: skip


def kind_of(value: Any) -> str:
    """Return the name of a value's type."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, Opaque):
        return value.type.name
    if isinstance(value, Message):
        return value.type_name
    if isinstance(value, Mapping):
        return "map"
    if isinstance(value, list):
        return "list"
    raise TypeError(f"{type(value).__name__} is no value of an expression")


def type_of(value: Any) -> Type:
    """Return what `type(value)` is."""
    kind = kind_of(value)
    return NAMED.get(kind) or Type(kind)


def size_of(value: Any) -> int:
    """Return the size that costs are reckoned by; 1 for what has none."""
    return len(value) if isinstance(value, str | bytes | list | tuple | Mapping) else 1


def to_key(value: Any) -> Any:
    """Return the key under which a map keeps such a value."""
    return (value,) if type(value) is bool else value


def from_key(key: Any) -> Any:
    """Return the value that a key stands for."""
    return key[0] if type(key) is tuple else key


def keys_of(value: Mapping[Any, Any]) -> Iterator[Any]:
    """Yield the keys of a map as values."""
    return map(from_key, value)


_NUMBERS: Final = (int, float)


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values are equal: numbers by amount, all else only within a type."""
    if isinstance(one, _NUMBERS) and isinstance(other, _NUMBERS):
        return one == other and (type(one) is bool) is (type(other) is bool)
    if isinstance(one, list | tuple):
        return _equal_lists(one, other)
    if isinstance(one, Mapping):
        return _equal_maps(one, other)
    if isinstance(one, Optional) and isinstance(other, Optional):
        return one.present == other.present and equal(one.value, other.value)
    if isinstance(one, Type) and isinstance(other, Type):
        return one.name == other.name
    return type(one) is type(other) and bool(one == other)


def _equal_lists(one: Any, other: Any) -> bool:
    if not isinstance(other, list | tuple) or len(one) != len(other):
        return False
    if isinstance(one, KeyedList):
        places = ((one.place_of(each), each) for each in other)
        return all(place >= 0 and equal(one[place], each) for place, each in places)
    return all(equal(left, right) for left, right in zip(one, other, strict=True))


def _equal_maps(one: Mapping[Any, Any], other: Any) -> bool:
    if not isinstance(other, Mapping) or len(one) != len(other):
        return False
    return all(key in other and equal(value, other[key]) for key, value in one.items())


def is_member(value: Any, values: Any) -> bool:
    """Tell whether a list holds an equal value, or a map such a key."""
    if isinstance(values, Mapping):
        keys = values.keys()  # some maps have a default for keys that they do not hold
        return hashable(value) and to_key(value) in keys
    return any(equal(value, each) for each in values)


def hashable(value: Any) -> bool:
    """Tell whether a value may be looked up in a map."""
    return isinstance(value, int | float | str)
