"""Priority classes: names for the importance of pods."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

PRIORITYCLASSES = Resource(
    group="scheduling.k8s.io",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    short_names=("pc",),
    schema="io.k8s.api.scheduling.v1.PriorityClass",
    columns=(
        NAME,
        Column("Value", "integer"),
        Column("Global-Default", "boolean"),
        AGE,
        Column("PreemptionPolicy"),
    ),
)
