"""Secrets: settings that are not for everyone to read."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

SECRETS = Resource(
    kind="Secret",
    plural="secrets",
    schema="io.k8s.api.core.v1.Secret",
    columns=(
        NAME,
        Column("Type"),
        Column("Data"),
        AGE,
    ),
    selectable_fields={"type": lambda secret: secret.get("type", "")},
)
