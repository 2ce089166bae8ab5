"""Role bindings: who has a role in a namespace."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

ROLEBINDINGS = Resource(
    group="rbac.authorization.k8s.io",
    kind="RoleBinding",
    plural="rolebindings",
    schema="io.k8s.api.rbac.v1.RoleBinding",
    columns=(
        NAME,
        Column("Role"),
        AGE,
        Column("Users", priority=1),
        Column("Groups", priority=1),
        Column("ServiceAccounts", priority=1),
    ),
)
