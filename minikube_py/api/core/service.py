"""Services: a stable address in front of pods."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

SERVICES = Resource(
    returns_deleted_object=True,
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    schema="io.k8s.api.core.v1.Service",
    subresources=(
        Subresource(
            name="proxy",
            kind="ServiceProxyOptions",
            verbs=("create", "delete", "get", "patch", "update"),
        ),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Type"),
        Column("Cluster-IP"),
        Column("External-IP"),
        Column("Port(s)"),
        AGE,
        Column("Selector", priority=1),
    ),
    selectable_fields={
        "spec.clusterIP": lambda service: get(service, "spec.clusterIP", ""),
        "spec.type": lambda service: get(service, "spec.type", ""),
    },
)
