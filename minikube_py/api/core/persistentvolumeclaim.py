"""Persistent volume claims: a request for storage."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

PERSISTENTVOLUMECLAIMS = Resource(
    returns_deleted_object=True,
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    schema="io.k8s.api.core.v1.PersistentVolumeClaim",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Status"),
        Column("Volume"),
        Column("Capacity"),
        Column("Access Modes"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        AGE,
        Column("VolumeMode", priority=1),
    ),
)
