"""Storage classes: how volumes are provisioned."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

STORAGECLASSES = Resource(
    group="storage.k8s.io",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    short_names=("sc",),
    schema="io.k8s.api.storage.v1.StorageClass",
    columns=(
        NAME,
        Column("Provisioner"),
        Column("ReclaimPolicy"),
        Column("VolumeBindingMode"),
        Column("AllowVolumeExpansion"),
        AGE,
    ),
)
