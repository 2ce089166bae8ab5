"""Roles: rules of one namespace."""

from minikube_py.api.resource import NAME, Column, Resource

ROLES = Resource(
    group="rbac.authorization.k8s.io",
    kind="Role",
    plural="roles",
    schema="io.k8s.api.rbac.v1.Role",
    columns=(
        NAME,
        Column("Created At", "date"),
    ),
)
