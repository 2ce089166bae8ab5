"""The kinds of metrics.k8s.io, one file each; `RESOURCES` is all of them.

They are served only where the metrics API is built in, so they are none of `kinds.BUILTIN`.
"""

from minikube_py.api.metrics.nodemetrics import NODEMETRICS
from minikube_py.api.metrics.podmetrics import PODMETRICS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (NODEMETRICS, PODMETRICS)

__all__ = [
    "NODEMETRICS",
    "PODMETRICS",
    "RESOURCES",
]
