"""Cluster role bindings: who has a ClusterRole in all namespaces."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

CLUSTERROLEBINDINGS = Resource(
    group="rbac.authorization.k8s.io",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    namespaced=False,
    schema="io.k8s.api.rbac.v1.ClusterRoleBinding",
    columns=(
        NAME,
        Column("Role"),
        AGE,
        Column("Users", priority=1),
        Column("Groups", priority=1),
        Column("ServiceAccounts", priority=1),
    ),
)
