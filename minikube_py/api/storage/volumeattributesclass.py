"""Volume attributes classes: parameters of a volume that may change."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

VOLUMEATTRIBUTESCLASSES = Resource(
    group="storage.k8s.io",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    short_names=("vac",),
    schema="io.k8s.api.storage.v1.VolumeAttributesClass",
    columns=(
        NAME,
        Column("DriverName"),
        AGE,
    ),
)
