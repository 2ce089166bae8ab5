"""CSI storage capacities: how much a class can provide where."""

from minikube_py.api.resource import NAME, Column, Resource

CSISTORAGECAPACITIES = Resource(
    group="storage.k8s.io",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    schema="io.k8s.api.storage.v1.CSIStorageCapacity",
    columns=(
        NAME,
        Column("Created At", "date"),
    ),
)
