"""What the parts of the compiler need of it; they do not import it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from minikube_py.api.cel import ast
from minikube_py.api.cel.frame import Compiled
from minikube_py.api.cel.functions import Functions, Overload
from minikube_py.api.cel.types import Type


class Context(Protocol):
    """A compiler, seen from the parts that compile one sort of node."""

    functions: Functions
    structs: Mapping[str, Type]
    homogeneous: bool
    scope: dict[str, tuple[int, Type]]
    chosen: dict[int, Sequence[Overload]]

    def within(
        self, nodes: Sequence[ast.Node], variables: Mapping[str, Type]
    ) -> tuple[list[int], list[Compiled]]:
        """Compile parts that see further variables; also return their slots."""

    def complain(self, offset: int, message: str) -> Compiled:
        """Record an issue; the part counts as dyn."""

    def compile(self, node: ast.Node) -> Compiled:
        """Compile a node."""
