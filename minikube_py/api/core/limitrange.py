"""Limit ranges: bounds and defaults for the resources of a namespace."""

from minikube_py.api.resource import NAME, Column, Resource

LIMITRANGES = Resource(
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    schema="io.k8s.api.core.v1.LimitRange",
    columns=(
        NAME,
        Column("Created At", "date"),
    ),
)
