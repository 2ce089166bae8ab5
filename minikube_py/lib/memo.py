"""Remembering what was made of a text that a client sent, within bounds of number and of size."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Function = Callable[Concatenate[str, P], T]
LENGTH_MAX = 1024
"""Longer texts are rare, and would fill the memory."""


def remembered(number_max: int) -> Callable[[Function[P, T]], Function[P, T]]:
    """Make a pure function remember its newest results, not what it raises.

    Its first argument is the text; others have to be small and hashable.
    """

    def decorate(function: Function[P, T]) -> Function[P, T]:
        cached = lru_cache(number_max)(function)

        @wraps(function)
        def call(text: str, /, *more: P.args, **named: P.kwargs) -> T:
            if len(text) > LENGTH_MAX:
                return function(text, *more, **named)
            return cached(text, *more, **named)  # type: ignore[arg-type]

        return call

    return decorate
