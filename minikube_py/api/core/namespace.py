"""Namespaces: a scope for names, removed with all it holds."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

NAMESPACES = Resource(
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    schema="io.k8s.api.core.v1.Namespace",
    subresources=(
        Subresource(name="finalize", verbs=("update",), shares_object=True),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Status"),
        AGE,
    ),
    selectable_fields={"status.phase": lambda ns: get(ns, "status.phase", "")},
)
