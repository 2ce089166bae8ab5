r"""RE2's syntax of regular expressions, written as Python's.

What differs: flags within a pattern hold to the end of their group, `(?U)` swaps greedy and lazy,
`$` is the very end, classes have names (`[:alpha:]`, `\pL`), and there is neither looking around
nor looking back. (https://github.com/google/re2/wiki/Syntax)
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

REPEATS_MAX: Final = 1000
_POSIX: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-\/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_SPACE: Final = r"\t\n\f\r "
_ASSIGNED: Final = (range(0x33500), range(0xE0000, 0xE0200))
"""Where characters have categories; what is for private use comes after."""
_PRIVATE: Final = ((0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
_LAST: Final = 0x10FFFF
_FOREIGN: Final = frozenset("123456789GXRKkguULNZC")
"""Escapes that Python knows, or nobody, and RE2 refuses."""
_ESCAPE: Final = (
    r"\\(?:Q(?P<quoted>.*?)(?:\\E|$)|x\{(?P<code>[0-9A-Fa-f]{1,6})\}"
    r"|(?P<sign>[pP])(?:\{(?P<long>\^?\w+)\}|(?P<short>\w))|(?P<letter>.))"
)
_INNER: Final = re.compile(_ESCAPE + r"|\[:(?P<not>\^?)(?P<posix>[a-z]+):\]", re.DOTALL)
_TOKEN: Final = re.compile(
    r"(?P<class>\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\])"
    rf"|{_ESCAPE}"
    r"|\(\?P?<(?P<name>[A-Za-z_]\w*)>"
    r"|\(\?(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<after>[:)])"
    r"|(?P<repeat>[*+?]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\})(?P<lazy>\??)"
    r"|(?P<mark>.)",
    re.DOTALL,
)


def translate(pattern: str) -> str:
    """Write RE2's pattern as Python's.

    Raises:
        ValueError: RE2 would not take it.

    """
    return "".join(_Translation().pieces(pattern))


@dataclass
class _Group:
    """A group that is open: the flags in it, and how its own flags were opened, if they were."""

    flags: frozenset[str]
    opening: str = ""

    @property
    def closing(self) -> str:
        return ")" if self.opening else ""


class _Translation:
    """One reading of a pattern."""

    def __init__(self) -> None:
        self._groups = [_Group(frozenset())]
        self._bare = True
        """Whether there is nothing to repeat: a repetition itself cannot be repeated either."""

    def pieces(self, pattern: str) -> Iterator[str]:
        for token in _TOKEN.finditer(pattern):
            bare, repeats = self._bare, token["repeat"] is not None
            if bare and repeats:
                raise ValueError("missing argument to repetition operator")
            self._bare = repeats or token["mark"] in {"(", "|"}
            yield self._repeat(token) if repeats else self._piece(token)
        if len(self._groups) != 1:
            raise ValueError("missing closing )")
        yield self._groups[0].closing

    def _piece(self, token: re.Match[str]) -> str:
        if token["class"]:
            return _class(token["class"])
        if token["name"]:
            self._groups.append(_Group(self._groups[-1].flags))
            return f"(?P<{token['name']}>"
        if token["after"]:
            return self._flagged(token["flags"], scoped=token["after"] == ":")
        return self._mark(token["mark"]) if token["mark"] else _escape(token, inside=False)

    def _repeat(self, token: re.Match[str]) -> str:
        if any(int(token[part] or 0) > REPEATS_MAX for part in ("least", "most")):
            raise ValueError("invalid repeat count")
        lazy = bool(token["lazy"]) is not ("U" in self._groups[-1].flags)
        return token["repeat"] + ("?" if lazy else "")

    def _flagged(self, flags: str, *, scoped: bool) -> str:
        on, _, off = flags.partition("-")
        group = self._groups[-1]
        wanted = (group.flags | set(on)) - set(off)
        opening = _opening(wanted)
        if scoped:
            self._groups.append(_Group(wanted))
            return opening
        closing, group.flags, group.opening = group.closing, wanted, opening
        return closing + opening

    def _mark(self, mark: str) -> str:
        group = self._groups[-1]
        match mark:
            case "(":
                self._groups.append(_Group(group.flags))
            case ")":
                if len(self._groups) == 1:
                    raise ValueError("unexpected )")
                self._groups.pop()
                return group.closing + mark
            case "|":
                return group.closing + mark + group.opening
            case "$":
                return mark if "m" in group.flags else r"\Z"
            case "{":
                return r"\{"
            case "[" | "\\":
                raise ValueError("missing closing ], or trailing backslash")
        return mark


def _opening(flags: frozenset[str]) -> str:
    on = "".join(sorted(flags - {"U"}))
    off = "".join(sorted({"i", "m", "s"} - flags))
    return f"(?{on}{'-' if off else ''}{off}:"


def _class(text: str) -> str:
    start = 2 if text.startswith("[^") else 1
    return text[:start] + _INNER.sub(lambda match: _escape(match, inside=True), text[start:])


def _escape(match: re.Match[str], *, inside: bool) -> str:
    if match["quoted"] is not None:
        return re.escape(match["quoted"])
    if match["code"]:
        return re.escape(chr(int(match["code"], 16)))
    if match["sign"]:
        return _category(match, inside=inside)
    if inside and match["posix"]:
        return _posix(match["posix"], negated=bool(match["not"]))
    return _letter(match["letter"], inside=inside)


def _letter(letter: str, *, inside: bool) -> str:
    if letter in _FOREIGN or (inside and letter in "AzB"):
        raise ValueError("invalid escape sequence")
    if letter == "s":
        return _SPACE if inside else f"[{_SPACE}]"
    if letter == "S" and not inside:
        return f"[^{_SPACE}]"
    return r"\Z" if letter == "z" else f"\\{letter}"


def _posix(name: str, *, negated: bool) -> str:
    listed = _POSIX.get(name)
    if listed is None:
        raise ValueError("invalid character class range")
    if not negated:
        return listed
    known = re.compile(f"[{listed}]")
    inside = [code for code in range(128) if known.match(chr(code))]
    return _shown(_complement([(code, code) for code in inside]))


def _category(match: re.Match[str], *, inside: bool) -> str:
    name = match["long"] or match["short"]
    negated = (match["sign"] == "P") is not name.startswith("^")
    found = ranges(name.removeprefix("^"))
    listed = _shown(_complement(found) if negated else found)
    return listed if inside else f"[{listed}]"


def _shown(found: Sequence[tuple[int, int]]) -> str:
    if not found:
        raise ValueError("empty character class")
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in found)


def _complement(found: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    edges = [-1, *(edge for pair in found for edge in pair), _LAST + 1]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return [(low + 1, high - 1) for low, high in gaps if low + 1 < high]


@lru_cache(maxsize=64)
def ranges(name: str) -> Sequence[tuple[int, int]]:
    """Return the characters of a general category (L, Lu, Nd ...), or of all (Any), as ranges.

    Raises:
        ValueError: there is no such category.

    """
    if name == "Any":
        return ((0, _LAST),)
    found = tuple((low, high) for low, high, each in _categories() if each.startswith(name))
    if not found or len(name) > 2:
        raise ValueError("invalid character class range")
    return tuple(_merged(found))


def _merged(found: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first, last = found[0]
    for low, high in found[1:]:
        if low > last + 1:
            yield first, last
            first = low
        last = high
    yield first, last


@lru_cache(maxsize=1)
def _categories() -> Sequence[tuple[int, int, str]]:
    """Return runs of characters with their category; what has none (Cn) is left out."""
    runs: list[tuple[int, int, str]] = []
    for codes in _ASSIGNED:
        for code in codes:
            category = unicodedata.category(chr(code))
            if runs and runs[-1][1] == code - 1 and runs[-1][2] == category:
                runs[-1] = (runs[-1][0], code, category)
            else:
                runs.append((code, code, category))
    runs.extend((low, high, "Co") for low, high in _PRIVATE)
    return tuple(run for run in runs if run[2] != "Cn")
