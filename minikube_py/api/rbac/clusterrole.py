"""Cluster roles: rules that apply everywhere or where bound."""

from collections.abc import Iterator

from minikube_py.api import names, selectors
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.rbac import rules
from minikube_py.api.resource import NAME, Column, Resource


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated role."""
    yield from rules.validate_rules(new.get("rules") or (), namespaced=False)
    selecting = get(new, "aggregationRule.clusterRoleSelectors")
    if new.get("aggregationRule") is None:
        return
    field = Field("aggregationRule") / "clusterRoleSelectors"
    if not selecting:
        yield field.required(
            "at least one clusterRoleSelector required if aggregationRule is non-nil"
        )
    for index, selector in enumerate(selecting or ()):
        yield from selectors.validate(selector, field[index])


CLUSTERROLES = Resource(
    group=rules.GROUP,
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    schema="io.k8s.api.rbac.v1.ClusterRole",
    columns=(NAME, Column("Created At", "date")),
    cells=rules.role_cells,
    default=rules.default_role,
    validate=validate,
    validate_name=names.path_segment,
    allow_create_on_update=True,
)
