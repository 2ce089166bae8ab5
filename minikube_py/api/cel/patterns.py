"""Regular expressions: RE2's syntax on Python's engine where that is safe.

A pattern that could make a backtracking engine slow runs on a machine of threads instead (see
`machine`), which needs no more than text times pattern steps. What RE2 does not know, such as
backreferences and looking around, is refused.
"""

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

from minikube_py.api.cel import machine
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.pattern_syntax import translate

PATTERN_MAX: Final = 4096
"""Characters of a pattern; upstream bounds them by the cost of the expression only."""
STEPS_MAX: Final = 200_000
"""Steps that backtracking may take at worst; beyond, the machine of threads is surer."""
_DEGREE_MAX: Final = 20


class Pattern:
    """A compiled pattern: two engines, of which the text's length chooses."""

    def __init__(self, pattern: str) -> None:
        self._plain = re.compile(pattern, re.ASCII)
        self._degree = machine.degree(pattern, re.ASCII)
        self._machine = machine.Machine(pattern, re.ASCII)

    def _is_quick(self, text: str) -> bool:
        """Tell whether backtracking over the text takes few steps at worst."""
        return bool((len(text) + 1) ** (min(self._degree, _DEGREE_MAX) + 1) <= STEPS_MAX)

    def matches(self, text: str) -> bool:
        """Tell whether the pattern matches anywhere."""
        if self._is_quick(text):
            return self._plain.search(text) is not None
        return self._machine.matches(text)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where matches begin and end, from left to right."""
        quick = self._is_quick(text)
        start, last = 0, -1
        while start <= len(text):
            found = self._plain_find(text, start) if quick else self._machine.find(text, start)
            if found is None:
                return
            begin, end = found
            if begin != end or begin != last:
                yield found
            start, last = (end, end) if end > begin else (end + 1, last)

    def _plain_find(self, text: str, start: int) -> tuple[int, int] | None:
        match = self._plain.search(text, start)
        return match.span() if match else None


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Pattern:
    """Compile a pattern.

    Raises:
        CelEvaluationError: it is none, or RE2 would not take it.

    """
    complaint = CelEvaluationError(f"error parsing regexp: `{pattern}`")
    if len(pattern) > PATTERN_MAX:
        raise complaint
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Pattern(translate(pattern))
    except (re.error, OverflowError, RecursionError, ValueError):
        raise complaint from None


def matches(pattern: str, text: str) -> bool:
    """Tell whether the pattern matches anywhere in the text."""
    return compile_pattern(pattern).matches(text)


def spans(pattern: str, text: str, count: int = -1) -> list[tuple[int, int]]:
    """Return where matches begin and end, at most so many; all where count is negative."""
    found = compile_pattern(pattern).spans(text)
    return list(found if count < 0 else islice(found, count))
