"""The syntax tree; every node knows its offset in the text (code points from 0)."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    offset: int
    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, or the name of a type."""

    offset: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; with `test` it is `has(operand.field)`, optional is `operand.?field`."""

    offset: int
    operand: "Node"
    field: str
    test: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator (`_+_`) with its arguments; a member call has a target."""

    offset: int
    function: str
    target: "Node | None"
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Element:
    """A part of a list literal; an optional one is left out where it has no value."""

    value: "Node"
    optional: bool


@dataclass(frozen=True, slots=True)
class ListNode:
    """`[a, ?b]`."""

    offset: int
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """`key: value` of a map literal; an optional one is left out where it has no value."""

    offset: int
    key: "Node"
    value: "Node"
    optional: bool


@dataclass(frozen=True, slots=True)
class MapNode:
    """`{key: value}`."""

    offset: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Struct:
    """`Name{field: value}`; the keys of the entries are constants."""

    offset: int
    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """A macro that walks a list or map, under its name; `condition` filters where there is one."""

    offset: int
    macro: str
    range: "Node"
    variables: tuple[str, ...]
    condition: "Node | None"
    body: "Node"


@dataclass(frozen=True, slots=True)
class Bind:
    """`cel.bind(name, value, body)`."""

    offset: int
    name: str
    value: "Node"
    body: "Node"


@dataclass(frozen=True, slots=True)
class OptionalMap:
    """`target.optMap(name, body)`, or `optFlatMap` where `flat`."""

    offset: int
    target: "Node"
    name: str
    body: "Node"
    flat: bool


Node = (
    Constant | Name | Select | Call | ListNode | MapNode | Struct | Comprehension | Bind
    | OptionalMap
)  # fmt: skip
