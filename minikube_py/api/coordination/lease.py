"""Leases: who holds a role, and since when."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

LEASES = Resource(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    schema="io.k8s.api.coordination.v1.Lease",
    columns=(
        NAME,
        Column("Holder"),
        AGE,
    ),
)
