"""Checks of constant arguments: upstream refuses what is sure to fail before it runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api.cel import ast, patterns, times
from minikube_py.api.cel.errors import CelEvaluationError


def _pattern(value: str) -> None:
    patterns.compile_pattern(value)


def _timestamp(value: str) -> None:
    times.parse_timestamp(value)


def _duration(value: str) -> None:
    times.parse_duration(value)


_CHECKS: Final[Mapping[str, tuple[int, Callable[[str], None]]]] = {
    "matches": (1, _pattern),
    "timestamp": (0, _timestamp),
    "duration": (0, _duration),
}


def check(function: str, arguments: Sequence[ast.Node]) -> Iterator[tuple[int, str]]:
    """Yield the offset and the complaint of a constant that the function cannot take."""
    if function not in _CHECKS or len(arguments) <= _CHECKS[function][0]:
        return
    position, attempt = _CHECKS[function]
    node = arguments[position]
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return
    try:
        attempt(node.value)
    except CelEvaluationError:
        yield node.offset, f"invalid {function} argument"
