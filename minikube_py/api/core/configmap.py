"""Config maps: settings as text or bytes."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

CONFIGMAPS = Resource(
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    schema="io.k8s.api.core.v1.ConfigMap",
    columns=(
        NAME,
        Column("Data"),
        AGE,
    ),
)
