"""CSI nodes: the storage drivers of a node."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

CSINODES = Resource(
    group="storage.k8s.io",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    schema="io.k8s.api.storage.v1.CSINode",
    columns=(
        NAME,
        Column("Drivers", "integer"),
        AGE,
    ),
)
