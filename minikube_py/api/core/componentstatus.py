"""Component statuses: the health of the control plane, read-only and deprecated."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.api.resource import NAME, Column, Resource


def cells(component: Obj) -> Sequence[Any]:
    """Return name, health and what was said of it."""
    name = component["metadata"]["name"]
    for condition in component.get("conditions") or ():
        if condition.get("type") == "Healthy":
            status = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return name, status, condition.get("message") or "", condition.get("error") or ""
    return name, "Unknown", "", ""


COMPONENTSTATUSES = Resource(
    kind="ComponentStatus",
    plural="componentstatuses",
    namespaced=False,
    short_names=("cs",),
    verbs=("get", "list"),
    schema="io.k8s.api.core.v1.ComponentStatus",
    columns=(NAME, Column("Status"), Column("Message"), Column("Error")),
    cells=cells,
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
)
