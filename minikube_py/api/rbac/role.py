"""Roles: rules of one namespace."""

from collections.abc import Iterator

from minikube_py.api import names
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj
from minikube_py.api.rbac import rules
from minikube_py.api.resource import NAME, Column, Resource


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated role."""
    yield from rules.validate_rules(new.get("rules") or (), namespaced=True)


ROLES = Resource(
    group=rules.GROUP,
    kind="Role",
    plural="roles",
    schema="io.k8s.api.rbac.v1.Role",
    columns=(NAME, Column("Created At", "date")),
    cells=rules.role_cells,
    default=rules.default_role,
    validate=validate,
    validate_name=names.path_segment,
    allow_create_on_update=True,
)
