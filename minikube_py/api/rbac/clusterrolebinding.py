"""Cluster role bindings: who has a ClusterRole in all namespaces."""

from collections.abc import Iterator

from minikube_py.api import names
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj
from minikube_py.api.rbac import rules
from minikube_py.api.resource import AGE, NAME, Column, Resource


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated binding."""
    yield from rules.validate_binding(new, old, ("ClusterRole",), namespaced=False)


CLUSTERROLEBINDINGS = Resource(
    group=rules.GROUP,
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
    cells=rules.binding_cells,
    default=rules.default_binding,
    validate=validate,
    validate_name=names.path_segment,
    allow_create_on_update=True,
)
