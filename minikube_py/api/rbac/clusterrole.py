"""Cluster roles: rules that apply everywhere or where bound."""

from minikube_py.api.resource import NAME, Column, Resource

CLUSTERROLES = Resource(
    group="rbac.authorization.k8s.io",
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    schema="io.k8s.api.rbac.v1.ClusterRole",
    columns=(
        NAME,
        Column("Created At", "date"),
    ),
)
