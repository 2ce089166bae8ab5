"""Costs of an evaluation, as upstream's tracker reckons them.

Every step spends from a meter: 1 for a variable and for a selection, 10 for a list, 30 for a map,
40 for an object, and what the function says for a call; texts cost a tenth of a unit a character.
"""

from collections.abc import Callable
from math import ceil
from typing import Any, Final

from minikube_py.api.cel.errors import CelCostError
from minikube_py.api.cel.values import size_of
from minikube_py.lib import patience

PER_CALL_LIMIT: Final = 1_000_000
"""Upstream's limit of units for one evaluation (about a tenth of a second there)."""
LIST: Final = 10
MAP: Final = 30
STRUCT: Final = 40
BETWEEN_LOOKS: Final = 1_000
"""Units (a few milliseconds) after which an evaluation looks at the clock again."""
_TRAVERSAL: Final = 0.1
_PATTERN: Final = 0.25

Cost = Callable[..., int]
"""The cost of a call from its result and its arguments."""


class Meter:
    """What one evaluation has spent, and may spend."""

    __slots__ = ("_look", "limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self._look = min(limit, BETWEEN_LOOKS)

    def spend(self, units: int) -> None:
        """Count units.

        Raises:
            CelCostError: the limit is passed.
            OutOfPatienceError: it takes too long for the event loop.

        """
        self.spent += units
        if self.spent > self._look:
            self._stop()

    def _stop(self) -> None:
        """End the evaluation if it must end."""
        if self.spent > self.limit:
            raise CelCostError("operation cancelled: actual cost limit exceeded")
        patience.check()
        self._look = min(self.limit, self.spent + BETWEEN_LOOKS)


def traversal(size: float) -> int:
    """Return the cost of walking so many characters."""
    return ceil(size * _TRAVERSAL)


def one(_result: Any, *_arguments: Any) -> int:
    """Cost a unit, whatever the arguments."""
    return 1


def free(_result: Any, *_arguments: Any) -> int:
    """Cost nothing."""
    return 0


def first(_result: Any, value: Any, *_arguments: Any) -> int:
    """Walk the first argument."""
    return traversal(size_of(value))


def affix(_result: Any, _value: Any, part: Any) -> int:
    """Walk the second argument."""
    return traversal(size_of(part))


def elements(_result: Any, value: Any, *_arguments: Any) -> int:
    """Cost a unit for each element of the first argument."""
    return size_of(value)


def smaller(_result: Any, left: Any, right: Any) -> int:
    """Walk the shorter of two."""
    return traversal(min(size_of(left), size_of(right)))


def both(_result: Any, left: Any, right: Any) -> int:
    """Walk both."""
    return traversal(size_of(left) + size_of(right))


def product(_result: Any, left: Any, right: Any, *_arguments: Any) -> int:
    """Walk one for each step in the other."""
    return traversal(size_of(left)) * traversal(size_of(right))


def pairs(_result: Any, left: Any, right: Any) -> int:
    """Compare each element of one list with each of the other."""
    return max(size_of(left), 1) * max(size_of(right), 1)


def pattern(_result: Any, value: Any, expression: Any, *_arguments: Any) -> int:
    """Match a text against a regular expression."""
    return traversal(1 + size_of(value)) * ceil(size_of(expression) * _PATTERN)


def made(result: Any, value: Any, *_arguments: Any) -> int:
    """Walk the first argument and write the result."""
    return traversal(size_of(value)) + traversal(size_of(result))


def authorization(_result: Any, *_arguments: Any) -> int:
    """Ask the authorizer: upstream takes it for the cost of a remote call."""
    return 350_000


IN_ADVANCE: Final = frozenset({pattern, product, pairs})
"""Costs of what may take long in one step, and that the arguments alone say: paid before it."""
