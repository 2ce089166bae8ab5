"""CSI drivers: what a storage driver wants and offers."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

CSIDRIVERS = Resource(
    group="storage.k8s.io",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    schema="io.k8s.api.storage.v1.CSIDriver",
    columns=(
        NAME,
        Column("AttachRequired", "boolean"),
        Column("PodInfoOnMount", "boolean"),
        Column("StorageCapacity", "boolean"),
        Column("TokenRequests"),
        Column("RequiresRepublish", "boolean"),
        Column("Modes"),
        AGE,
    ),
)
