"""The kinds of policy, one file each; `RESOURCES` is all of them."""

from minikube_py.api.policy.poddisruptionbudget import PODDISRUPTIONBUDGETS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (PODDISRUPTIONBUDGETS,)

__all__ = [
    "PODDISRUPTIONBUDGETS",
    "RESOURCES",
]
