"""Regular expressions: RE2's syntax on Python's engine where that is safe.

A pattern that could make a backtracking engine slow runs on a machine of threads instead (see
`machine`), which needs no more than text times pattern steps. What RE2 does not know, such as
backreferences and looking around, is refused.
"""

import re
import warnings
from functools import lru_cache
from typing import Final

from minikube_py.api.cel.errors import CelEvaluationError

PATTERN_MAX: Final = 4096
"""Characters of a pattern; upstream bounds them by the cost of the expression only."""
REPEAT_MAX: Final = 1000
"""RE2's bound of a counted repeat."""
_POSIX: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-\/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_UNKNOWN: Final = re.compile(
    r"\(\?(?:[=!#>(]|<[=!]|P[=>])|\\[1-9GXRKkguULNZ]|[*+?}]\+|\(\?[imsU]*[aLux]"
)
_PIECE: Final = re.compile(
    r"\\(?:Q(?P<quoted>.*?)(?:\\E|$)|x\{(?P<code>[0-9A-Fa-f]{1,6})\}|(?P<end>z)|(?P<escape>.))"
    r"|\[:(?P<not>\^?)(?P<posix>[a-z]+):\]|\(\?<(?P<name>[A-Za-z_]\w*)>|(?P<plain>.)",
    re.DOTALL,
)


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern.

    Raises:
        CelEvaluationError: it is none, or RE2 would not take it.

    """
    complaint = CelEvaluationError(f"error parsing regexp: `{pattern}`")
    if len(pattern) > PATTERN_MAX or _UNKNOWN.search(re.sub(r"\\\\|\[[^\]]*\]", "", pattern)):
        raise complaint
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(_PIECE.sub(_translate, pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError, ValueError):
        raise complaint from None


def _translate(match: re.Match[str]) -> str:
    if match["quoted"] is not None:
        return re.escape(match["quoted"])
    if match["code"]:
        return re.escape(chr(int(match["code"], 16)))
    if match["end"]:
        return r"\Z"
    if match["name"]:
        return f"(?P<{match['name']}>"
    if match["posix"]:
        if match["not"] or match["posix"] not in _POSIX:
            raise ValueError("no such class")
        return _POSIX[match["posix"]]
    return r"\Z" if match["plain"] == "$" else match[0]


def search(pattern: str, text: str) -> tuple[int, int] | None:
    """Return where the first match begins and ends, or None."""
    match = compile_pattern(pattern).search(text)
    return match.span() if match else None


def spans(pattern: str, text: str, count: int) -> list[tuple[int, int]]:
    """Return where matches begin and end, at most so many; all where count is negative."""
    found: list[tuple[int, int]] = []
    for match in compile_pattern(pattern).finditer(text):
        if len(found) == count:
            break
        found.append(match.span())
    return found
