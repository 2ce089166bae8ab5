"""A Pratt parser: precedence is a table, each prefix is a small function, macros expand at once.

Errors are worded as upstream's generated parser words them; how it goes on after one is `reader`'s.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from minikube_py.api.cel import macros
from minikube_py.api.cel.ast import (
    Call,
    Constant,
    Element,
    Entry,
    ListNode,
    MapNode,
    Name,
    Node,
    Select,
    Struct,
)
from minikube_py.api.cel.errors import CelError, Issue, IssueError
from minikube_py.api.cel.reader import Reader
from minikube_py.api.cel.tokens import EOF, RESERVED, Token, scan
from minikube_py.api.cel.values import INT_MAX, INT_MIN, Uint

Part = TypeVar("Part")
DEPTH_MAX: Final = 64
"""Nesting; upstream allows 250, this many keep clear of Python's own limit."""
CHARACTERS_MAX: Final = 100_000
"""Upstream's limit of code points in an expression."""
_BINARY: Final = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_UNARY: Final = {"!": "!_", "-": "-_"}


def parse(text: str) -> Node:
    """Parse an expression.

    Raises:
        CelError: the text is no expression.

    """
    if len(text) > CHARACTERS_MAX:
        limit = f"size: {len(text)}, limit: {CHARACTERS_MAX}"
        raise CelError(text, (Issue(0, f"expression code point size exceeds limit: {limit}"),))
    tokens, issues = scan(text)
    try:
        node = _Parser(Reader(text, tokens, issues)).whole()
    except IssueError as error:
        issues.append(error.issue)
    if issues:
        raise CelError(text, tuple(sorted(issues)))
    return node


class _Parser:
    """The functions that read from the tokens."""

    def __init__(self, reader: Reader) -> None:
        self._in = reader
        self._depth = 0
        self._ends: tuple[str, ...] = ()
        """What could stand where the next part of a sequence is read."""

    def whole(self) -> Node:
        node = self._expression()
        self._in.expect(EOF)
        return node

    def _expression(self, *instead: str) -> Node:
        """Read an expression; messages say that one of `instead` could have stood there too."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            message = f"expression recursion limit exceeded: {DEPTH_MAX}"
            raise IssueError(self._in.next.offset, message)
        node = self._binary(1, *instead)
        if self._in.next.kind == "?":
            offset = self._in.take().offset
            truthy = self._binary(1)
            self._in.expect(":")
            node = Call(offset, "_?_:_", None, (node, truthy, self._expression()))
        self._depth -= 1
        return node

    def _binary(self, least: int, *instead: str) -> Node:
        left = self._unary(*instead)
        while (strength := _BINARY.get(self._in.next.kind, 0)) >= least:
            operator = self._in.take()
            right = self._binary(strength + 1)
            name = "@in" if operator.kind == "in" else f"_{operator.kind}_"
            left = Call(operator.offset, name, None, (left, right))
        return left

    def _unary(self, *instead: str) -> Node:
        operator = self._in.next
        if operator.kind not in _UNARY:
            return self._member(self._primary(*instead))
        count = 0
        while self._in.skip(operator.kind):
            count += 1
        negative = operator.kind == "-"
        if (
            negative
            and type(self._in.next.value) in {int, float}
            and self._in.next.kind == "constant"
        ):
            node = self._member(self._number(self._in.take(), sign=-1))
            count -= 1
        else:
            node = self._member(self._primary())
        if count % 2:
            return Call(operator.offset, _UNARY[operator.kind], None, (node,))
        return node

    def _number(self, token: Token, sign: int = 1) -> Constant:
        value = token.value
        if isinstance(value, int | float) and type(value) not in {bool, Uint}:
            value *= sign
            if type(value) is int and not INT_MIN <= value <= INT_MAX:
                self._in.complain(token.offset, "invalid int literal")
        return Constant(token.offset, value)

    def _member(self, node: Node) -> Node:
        while True:
            token = self._in.next
            if self._in.skip("."):
                node = self._selection(node, token.offset)
            elif self._in.skip("["):
                name = "_[?_]" if self._in.skip("?") else "_[_]"
                index = self._expression("?")
                self._in.expect("]")
                node = Call(token.offset, name, None, (node, index))
            elif token.kind == "{" and (name := _dotted(node)):
                node = self._struct(name)
            else:
                return node

    def _selection(self, node: Node, offset: int) -> Node:
        optional = self._in.skip("?")
        token = self._in.name(offset)
        if not optional and token.kind == "word" and self._in.next.kind == "(":
            return self._call(token, node)
        field = str(token.value) if token.kind == "quoted" else token.text
        return Select(offset, node, field, optional=optional)

    def _primary(self, *instead: str) -> Node:
        token = self._in.operand(*instead)
        read: Callable[[Token], Node] = {
            "(": self._parenthesis,
            "[": self._list,
            "{": self._map,
            "constant": self._number,
            "word": self._name,
            ".": self._absolute,
            "-": self._again,
            "!": self._again,
        }[token.kind]
        return read(token)

    def _again(self, operator: Token) -> Node:
        """Read an operand that begins after a token that was passed over."""
        return Call(operator.offset, _UNARY[operator.kind], None, (self._unary(),))

    def _parenthesis(self, _opening: Token) -> Node:
        node = self._expression()
        self._in.expect(")")
        return node

    def _absolute(self, _dot: Token) -> Node:
        return self._name(self._in.expect("word"))

    def _name(self, token: Token) -> Node:
        if token.text in RESERVED:
            self._in.complain(token.offset, f"reserved identifier: {token.text}")
        if self._in.next.kind == "(":
            return self._call(token, None)
        return Name(token.offset, token.text)

    def _call(self, name: Token, target: Node | None) -> Node:
        opening = self._in.expect("(")
        arguments = self._sequence(")", self._argument)
        call = Call(opening.offset, name.text, target, tuple(arguments))
        try:
            return macros.expand(call)
        except IssueError as error:
            self._in.issues.append(error.issue)
            return call

    def _argument(self) -> Node:
        return self._expression(*self._ends)

    def _sequence(self, end: str, read: Callable[[], Part]) -> list[Part]:
        """Read parts up to the end; a comma may follow the last, except in a call."""
        parts: list[Part] = []
        is_call = end == ")"
        self._ends = (end,) if is_call else (end, ",", "?")
        while not self._in.skip(end):
            parts.append(read())
            self._ends = () if is_call else (end, "?")
            if self._in.skip(","):
                if is_call and self._in.next.kind == end:
                    self._primary()
                continue
            self._in.expect(end, "" if is_call else f"{{'{end}', ','}}")
            break
        return parts

    def _list(self, opening: Token) -> Node:
        return ListNode(opening.offset, tuple(self._sequence("]", self._element)))

    def _element(self) -> Element:
        optional = self._in.skip("?")
        return Element(self._expression(*self._ends), optional)

    def _map(self, opening: Token) -> Node:
        return MapNode(opening.offset, tuple(self._sequence("}", self._entry)))

    def _entry(self) -> Entry:
        optional = self._in.skip("?")
        key = self._expression(*self._ends)
        colon = self._in.expect(":")
        return Entry(colon.offset, key, self._expression(), optional)

    def _struct(self, name: str) -> Node:
        opening = self._in.expect("{")
        return Struct(opening.offset, name, tuple(self._sequence("}", self._field)))

    def _field(self) -> Entry:
        optional = self._in.skip("?")
        token = self._in.field()
        name = str(token.value) if token.kind == "quoted" else token.text
        colon = self._in.expect(":")
        key = Constant(token.offset, name)
        return Entry(colon.offset, key, self._expression(), optional)


def _dotted(node: Node) -> str:
    """Return the name that a chain of plain selections spells, or ""."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select) and not node.optional and not node.test:
        head = _dotted(node.operand)
        return f"{head}.{node.field}" if head else ""
    return ""
