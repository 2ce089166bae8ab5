"""Functions: what each takes and gives, and which of its overloads a call means."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api.cel.cost import Cost, one
from minikube_py.api.cel.errors import no_overload
from minikube_py.api.cel.types import Type
from minikube_py.api.cel.values import kind_of


@dataclass(frozen=True, slots=True)
class Overload:
    """One way to call a function; a member's first parameter is its target."""

    function: str
    parameters: tuple[Type, ...]
    result: Type
    run: Callable[..., Any]
    member: bool = False
    cost: Cost = one


Functions = Mapping[str, Sequence[Overload]]


def index(overloads: Iterable[Overload]) -> Functions:
    """Return the overloads by function."""
    found: defaultdict[str, list[Overload]] = defaultdict(list)
    for overload in overloads:
        found[overload.function].append(overload)
    return dict(found)


def member(
    function: str,
    parameters: tuple[Type, ...],
    result: Type,
    run: Callable[..., Any],
    cost_: Cost = one,
) -> Overload:
    """Return an overload that is called on its first parameter."""
    return Overload(function, parameters, result, run, member=True, cost=cost_)


_ANY: Final = "dyn"


def _takes(overload: Overload, kinds: tuple[str, ...]) -> bool:
    if len(overload.parameters) != len(kinds):
        return False
    return all(
        each.is_open or each.name in {_ANY, kind}
        for each, kind in zip(overload.parameters, kinds, strict=True)
    )


class Dispatch:
    """Chooses among overloads by the values of a call; each combination is looked up once."""

    __slots__ = ("_chosen", "_function", "_overloads")

    def __init__(self, function: str, overloads: Sequence[Overload]) -> None:
        self._function = function
        self._overloads = overloads
        self._chosen: dict[tuple[str, ...], Overload] = {}

    def choose(self, arguments: Sequence[Any]) -> Overload:
        """Return the overload that takes these values.

        Raises:
            CelEvaluationError: there is none.

        """
        kinds = tuple(map(kind_of, arguments))
        found = self._chosen.get(kinds)
        if found is None:
            found = next((each for each in self._overloads if _takes(each, kinds)), None)
            if found is None:
                operator = not self._function[0].isalpha()
                raise no_overload() if operator else no_overload(self._function, *kinds)
            self._chosen[kinds] = found
        return found
