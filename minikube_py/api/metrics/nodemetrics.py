"""Metrics of nodes: how much processor and memory a node uses; answered, never stored."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.object import Obj, get
from minikube_py.api.resource import NAME, Column, Resource

COLUMNS = (
    NAME,
    Column("cpu", format="quantity"),
    Column("memory", format="quantity"),
    Column("Window", format="duration"),
)


def cells(metrics: Obj) -> Sequence[Any]:
    """Return the cells of a node's row."""
    return (
        metrics["metadata"]["name"],
        get(metrics, "usage.cpu", ""),
        get(metrics, "usage.memory", ""),
        metrics.get("window", ""),
    )


NODEMETRICS = Resource(
    group="metrics.k8s.io",
    version="v1beta1",
    kind="NodeMetrics",
    plural="nodes",
    singular="node",
    namespaced=False,
    verbs=("get", "list"),
    schema="io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
    columns=COLUMNS,
    cells=cells,
)
