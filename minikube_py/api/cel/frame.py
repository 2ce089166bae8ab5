"""What an evaluation runs on: the variables in numbered slots, and the meter."""

from collections.abc import Callable
from typing import Any, NamedTuple

from minikube_py.api.cel.cost import Meter
from minikube_py.api.cel.types import Type


class Frame(Meter):
    """The state of one evaluation."""

    __slots__ = ("slots",)

    def __init__(self, limit: int, slots: list[Any]) -> None:
        super().__init__(limit)
        self.slots = slots


Step = Callable[[Frame], Any]


class Compiled(NamedTuple):
    """A part of an expression, ready to run; a constant one always gives the same."""

    type: Type
    run: Step
    constant: bool = False
