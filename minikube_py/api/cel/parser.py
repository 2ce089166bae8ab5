"""A Pratt parser: precedence is a table, each prefix is a small function, macros expand at once.

Errors are worded as upstream's generated parser words them where one token decides; it reports the
first error only, since what follows it is guesswork.
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
from minikube_py.api.cel.tokens import EOF, RESERVED, Token, scan
from minikube_py.api.cel.values import INT_MAX, INT_MIN, Uint

Part = TypeVar("Part")
DEPTH_MAX: Final = 64
"""Nesting; upstream allows 250, this many keep clear of Python's own limit."""
CHARACTERS_MAX: Final = 100_000
"""Upstream's limit of code points in an expression."""
_EXPECTED: Final = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING,"
    " BYTES, IDENTIFIER}"
)
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
    try:
        return _Parser(scan(text)).whole()
    except IssueError as error:
        raise CelError(text, (error.issue,)) from None


class _Parser:
    """The place in the tokens and the functions that read from it."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._next
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def _skip(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._take()
        return True

    def _expect(self, kind: str) -> Token:
        token = self._next
        if token.kind == kind:
            return self._take()
        raise IssueError(token.offset, f"Syntax error: missing '{kind}' at '{token.text}'")

    def whole(self) -> Node:
        node = self._expression()
        token = self._next
        if token.kind != EOF:
            last = self._tokens[self._index + 1].kind == EOF
            what = "extraneous" if last else "mismatched"
            raise IssueError(
                token.offset, f"Syntax error: {what} input '{token.text}' expecting {EOF}"
            )
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            message = f"expression recursion limit exceeded: {DEPTH_MAX}"
            raise IssueError(self._next.offset, message)
        node = self._binary(1)
        if self._next.kind == "?":
            offset = self._take().offset
            truthy = self._binary(1)
            self._expect(":")
            node = Call(offset, "_?_:_", None, (node, truthy, self._expression()))
        self._depth -= 1
        return node

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while (strength := _BINARY.get(self._next.kind, 0)) >= least:
            operator = self._take()
            right = self._binary(strength + 1)
            name = "@in" if operator.kind == "in" else f"_{operator.kind}_"
            left = Call(operator.offset, name, None, (left, right))
        return left

    def _unary(self) -> Node:
        operator = self._next
        if operator.kind not in _UNARY:
            return self._member(self._primary())
        count = 0
        while self._skip(operator.kind):
            count += 1
        negative = operator.kind == "-"
        if negative and type(self._next.value) in {int, float} and self._next.kind == "constant":
            node = self._member(self._number(self._take(), sign=-1))
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
                raise IssueError(token.offset, "invalid int literal")
        return Constant(token.offset, value)

    def _member(self, node: Node) -> Node:
        while True:
            token = self._next
            if self._skip("."):
                node = self._selection(node, token.offset)
            elif self._skip("["):
                name = "_[?_]" if self._skip("?") else "_[_]"
                index = self._expression()
                self._expect("]")
                node = Call(token.offset, name, None, (node, index))
            elif token.kind == "{" and (name := _dotted(node)):
                node = self._struct(name)
            else:
                return node

    def _selection(self, node: Node, offset: int) -> Node:
        optional = self._skip("?")
        token = self._take()
        if token.kind not in {"word", "quoted"}:
            raise IssueError(token.offset, _missing_name(token))
        if not optional and token.kind == "word" and self._next.kind == "(":
            return self._call(token, node)
        field = str(token.value) if token.kind == "quoted" else token.text
        return Select(offset, node, field, optional=optional)

    def _primary(self) -> Node:
        token = self._take()
        read: Callable[[Token], Node] | None = {
            "(": self._parenthesis,
            "[": self._list,
            "{": self._map,
            "constant": self._number,
            "word": self._name,
            ".": self._absolute,
        }.get(token.kind)
        if read is None:
            raise IssueError(
                token.offset, f"Syntax error: mismatched input '{token.text}' expecting {_EXPECTED}"
            )
        return read(token)

    def _parenthesis(self, _opening: Token) -> Node:
        node = self._expression()
        self._expect(")")
        return node

    def _absolute(self, _dot: Token) -> Node:
        return self._name(self._expect("word"))

    def _name(self, token: Token) -> Node:
        if token.text in RESERVED:
            raise IssueError(token.offset, f"reserved identifier: {token.text}")
        if self._next.kind == "(":
            return self._call(token, None)
        return Name(token.offset, token.text)

    def _call(self, name: Token, target: Node | None) -> Node:
        opening = self._expect("(")
        arguments = self._sequence(")", self._expression)
        call = Call(opening.offset, name.text, target, tuple(arguments))
        return macros.expand(call)

    def _sequence(self, end: str, read: Callable[[], Part]) -> list[Part]:
        """Read parts up to the end; a comma may follow the last, except in a call."""
        parts: list[Part] = []
        while not self._skip(end):
            parts.append(read())
            if self._skip(","):
                if end == ")" and self._next.kind == end:
                    self._primary()
                continue
            self._expect(end)
            break
        return parts

    def _list(self, opening: Token) -> Node:
        return ListNode(opening.offset, tuple(self._sequence("]", self._element)))

    def _element(self) -> Element:
        optional = self._skip("?")
        return Element(self._expression(), optional)

    def _map(self, opening: Token) -> Node:
        return MapNode(opening.offset, tuple(self._sequence("}", self._entry)))

    def _entry(self) -> Entry:
        optional = self._skip("?")
        key = self._expression()
        colon = self._expect(":")
        return Entry(colon.offset, key, self._expression(), optional)

    def _struct(self, name: str) -> Node:
        opening = self._expect("{")
        return Struct(opening.offset, name, tuple(self._sequence("}", self._field)))

    def _field(self) -> Entry:
        optional = self._skip("?")
        token = self._take()
        if token.kind not in {"word", "quoted"}:
            raise IssueError(token.offset, _missing_name(token))
        name = str(token.value) if token.kind == "quoted" else token.text
        colon = self._expect(":")
        key = Constant(token.offset, name)
        return Entry(colon.offset, key, self._expression(), optional)


def _missing_name(token: Token) -> str:
    if token.kind == EOF:
        return f"Syntax error: no viable alternative at input '.{token.text}'"
    return f"Syntax error: mismatched input '{token.text}' expecting IDENTIFIER"


def _dotted(node: Node) -> str:
    """Return the name that a chain of plain selections spells, or ""."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select) and not node.optional and not node.test:
        head = _dotted(node.operand)
        return f"{head}.{node.field}" if head else ""
    return ""
