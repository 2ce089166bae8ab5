"""The Common Expression Language with Kubernetes' libraries.

    program = cel.compile("self.replicas <= self.max", {"self": types.DYN})
    program.evaluate({"self": {"replicas": 1, "max": 3}})

An expression is parsed (`parser`), checked and turned to closures in one pass (`compiler`), and run
over plain JSON under a budget (`cost`). The functions stand in `libraries`, a file each.
"""

from minikube_py.api.cel.errors import CelCostError, CelError, CelEvaluationError
from minikube_py.api.cel.program import (
    Program,
    compile,  # noqa: A004 - the word of every such API
    compile_and_estimate,
)

__all__ = [
    "CelCostError",
    "CelError",
    "CelEvaluationError",
    "Program",
    "compile",
    "compile_and_estimate",
]
