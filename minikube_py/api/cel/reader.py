"""Reading tokens one by one, and going on after a mistake as upstream's generated parser does.

Where a token is missing it is taken as given; one that is too many is passed over; anything else
ends the reading, since what follows would be guesswork. All complaints are kept.
"""

from typing import Final

from minikube_py.api.cel.errors import Issue, IssueError
from minikube_py.api.cel.tokens import EOF, Token

_ORDER: Final = (
    "'['", "']'", "'{'", "'}'", "'('", "')'", "'.'", "','", "'-'", "'!'", "'?'", "'true'",
    "'false'", "'null'", "NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "IDENTIFIER",
    "ESC_IDENTIFIER",
)  # fmt: skip
"""Sorts of tokens as messages list them."""
_STARTS: Final = frozenset(_ORDER) - {"']'", "'}'", "')'", "','", "'?'", "ESC_IDENTIFIER"}
_OPERANDS: Final = frozenset({"[", "{", "(", ".", "-", "!", "constant", "word"})
"""What an expression can begin with."""
_AFTER: Final = frozenset(
    {
        "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "+", "-", "*", "/", "%", ".", "[",
        "?", ":", ",", ")", "]", "}", EOF,
    }
)  # fmt: skip
"""What can stand after an expression."""


def expected(*more: str) -> str:
    """Return how messages list what an expression can begin with, and more."""
    wanted = _STARTS | {f"'{each}'" for each in more}
    return f"{{{', '.join(each for each in _ORDER if each in wanted)}}}"


class Reader:
    """The place in the tokens."""

    def __init__(self, text: str, tokens: list[Token], issues: list[Issue]) -> None:
        self._text = text
        self._tokens = tokens
        self._index = 0
        self.issues = issues

    @property
    def next(self) -> Token:
        """The token that comes next; EOF at the end, again and again."""
        return self._tokens[self._index]

    @property
    def _after_next(self) -> Token:
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Read a token."""
        token = self.next
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def skip(self, kind: str) -> bool:
        """Read a token if it is of that kind; tell whether it was."""
        if self.next.kind != kind:
            return False
        self.take()
        return True

    def complain(self, offset: int, message: str) -> None:
        """Note a mistake."""
        self.issues.append(Issue(offset, message))

    def expect(self, kind: str, listed: str = "") -> Token:
        """Read a token that must be of that kind; `listed` is what a message says instead."""
        token, shown = self.next, listed or (f"'{kind}'" if kind != EOF else kind)
        if token.kind == kind:
            return self.take()
        if self._after_next.kind == kind and token.kind != EOF:
            self.complain(
                token.offset, f"Syntax error: extraneous input {_shown(token)} expecting {shown}"
            )
            self.take()
            return self.take()
        follow = _OPERANDS if kind == ":" else _AFTER
        if not listed and kind != EOF and token.kind in follow:
            self.complain(token.offset, f"Syntax error: missing {shown} at {_shown(token)}")
            return token
        raise _mismatch(token, shown)

    def operand(self, *more: str) -> Token:
        """Read the first token of an operand; `more` could have stood there too."""
        token = self.next
        if token.kind in _OPERANDS:
            return self.take()
        wanted = expected(*more)
        if token.kind != EOF and self._after_next.kind in _OPERANDS:
            message = f"Syntax error: extraneous input {_shown(token)} expecting {wanted}"
            self.complain(token.offset, message)
            self.take()
            return self.take()
        raise _mismatch(token, wanted)

    def name(self, start: int) -> Token:
        """Read the name after a dot at `start`."""
        token = self.take()
        if token.kind in {"word", "quoted"}:
            return token
        end = self._text[start : token.offset] + token.text
        raise IssueError(token.offset, f"Syntax error: no viable alternative at input '{end}'")

    def field(self) -> Token:
        """Read the name of a field in an object literal."""
        names = {"word", "quoted"}
        token = self.next
        if token.kind in names:
            return self.take()
        if self._after_next.kind in names and token.kind != EOF:
            message = f"Syntax error: extraneous input {_shown(token)} expecting {_FIELDS}"
            self.complain(token.offset, message)
            self.take()
            return self.take()
        raise _mismatch(token, _FIELDS)


_FIELDS: Final = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"


def _shown(token: Token) -> str:
    return f"'{token.text}'"


def _mismatch(token: Token, wanted: str) -> IssueError:
    message = f"Syntax error: mismatched input {_shown(token)} expecting {wanted}"
    return IssueError(token.offset, message)
