"""Compiled expressions: `compile` makes one, `Program.evaluate` runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from minikube_py.api.cel import libraries
from minikube_py.api.cel.ast import Node
from minikube_py.api.cel.compiler import UNSET, Compiler
from minikube_py.api.cel.cost import PER_CALL_LIMIT
from minikube_py.api.cel.errors import CelCostError, CelError, CelEvaluationError
from minikube_py.api.cel.estimate import Estimator, Sizes
from minikube_py.api.cel.frame import Frame, Step
from minikube_py.api.cel.functions import Functions
from minikube_py.api.cel.parser import parse
from minikube_py.api.cel.types import Type
from minikube_py.lib import patience

_NOTHING: Final[Mapping[str, Type]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Result:
    """A value and the units that it cost."""

    value: Any
    cost: int


@dataclass(frozen=True, slots=True)
class Program:
    """An expression, ready to be evaluated any number of times."""

    text: str
    type: Type
    """What it gives, as far as that is known; dyn otherwise."""
    variables: tuple[str, ...]
    used: frozenset[str]
    """The names that it asks for, its own among them."""
    slots: int
    step: Step

    def evaluate(self, bindings: Mapping[str, Any], *, budget: int = PER_CALL_LIMIT) -> Any:
        """Return the value over the bindings; budget is in cost units.

        Raises:
            CelEvaluationError: the expression has no value.
            CelCostError: it costs more than the budget.
            OutOfPatienceError: it takes too long for the event loop (`lib.patience`).

        """
        return self.run(bindings, budget=budget).value

    def run(self, bindings: Mapping[str, Any], *, budget: int = PER_CALL_LIMIT) -> Result:
        """Return the value and its cost; raises what `evaluate` raises."""
        patience.check()
        slots = [bindings.get(name, UNSET) for name in self.variables]
        slots.extend([UNSET] * (self.slots - len(slots)))
        frame = Frame(budget, slots)
        try:
            value = self.step(frame)
        except RecursionError:
            raise CelEvaluationError("value is nested too deeply") from None
        except (CelCostError, CelEvaluationError) as error:
            error.spent = frame.spent
            raise
        return Result(value, frame.spent)


def compile(  # noqa: A001 - the word of every such API
    text: str,
    variables: Mapping[str, Type],
    *,
    structs: Mapping[str, Type] = _NOTHING,
    functions: Functions = libraries.KUBERNETES,
    homogeneous: bool = True,
) -> Program:
    """Compile an expression over variables of known types (`types.DYN` where not known).

    `structs` are the object types that the expression may make (`Object{...}`); `functions` are
    those it may call; homogeneous literals hold values of one type only, as upstream demands.

    Raises:
        CelError: the text is no expression, or its types do not fit.

    """
    compiler = Compiler(functions, structs, homogeneous)
    return _compile(text, variables, compiler)[0]


def compile_and_estimate(
    text: str, variables: Mapping[str, Type], sizes: Sizes
) -> tuple[Program, int]:
    """Compile an expression; also return what it costs at most over data of such sizes.

    Raises:
        CelError: as `compile` does.

    """
    compiler = Compiler(libraries.KUBERNETES, _NOTHING, homogeneous=True)
    program, node = _compile(text, variables, compiler)
    return program, Estimator(sizes, compiler.types, compiler.chosen).part(node).cost.most


def _compile(text: str, variables: Mapping[str, Type], compiler: Compiler) -> tuple[Program, Node]:
    node = parse(text)
    for name, type_ in variables.items():
        compiler.declare(name, type_)
    compiled = compiler.compile(node)
    if compiler.issues:
        raise CelError(text, tuple(sorted(set(compiler.issues))))
    used = frozenset(compiler.used)
    program = Program(text, compiled.type, tuple(variables), used, compiler.slots, compiled.run)
    return program, node
