"""Component statuses: the health of the control plane, read-only and deprecated."""

from minikube_py.api.resource import NAME, Column, Resource

COMPONENTSTATUSES = Resource(
    kind="ComponentStatus",
    plural="componentstatuses",
    namespaced=False,
    short_names=("cs",),
    verbs=("get", "list"),
    schema="io.k8s.api.core.v1.ComponentStatus",
    columns=(
        NAME,
        Column("Status"),
        Column("Message"),
        Column("Error"),
    ),
)
