"""Endpoints: the addresses behind a service, in the form before endpoint slices."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

ENDPOINTS = Resource(
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    schema="io.k8s.api.core.v1.Endpoints",
    columns=(
        NAME,
        Column("Endpoints"),
        AGE,
    ),
)
