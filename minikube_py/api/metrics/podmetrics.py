"""Metrics of pods: how much processor and memory each container uses; answered, never stored."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api import quantity
from minikube_py.api.metrics.nodemetrics import COLUMNS
from minikube_py.api.object import Obj, get
from minikube_py.api.quantity import ZERO
from minikube_py.api.resource import Resource


def cells(metrics: Obj) -> Sequence[Any]:
    """Return the cells of a pod's row: its containers together."""
    return (
        metrics["metadata"]["name"],
        _together(metrics, "cpu"),
        _together(metrics, "memory"),
        metrics.get("window", ""),
    )


def _together(metrics: Obj, resource: str) -> str:
    total = ZERO
    for container in metrics.get("containers") or ():
        total += quantity.parse(get(container, f"usage.{resource}", "0"))
    return str(total)


PODMETRICS = Resource(
    group="metrics.k8s.io",
    version="v1beta1",
    kind="PodMetrics",
    plural="pods",
    singular="pod",
    verbs=("get", "list"),
    schema="io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
    columns=COLUMNS,
    cells=cells,
)
