"""Persistent volumes: storage that outlives pods."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

PERSISTENTVOLUMES = Resource(
    returns_deleted_object=True,
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    schema="io.k8s.api.core.v1.PersistentVolume",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Capacity"),
        Column("Access Modes"),
        Column("Reclaim Policy"),
        Column("Status"),
        Column("Claim"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        Column("Reason"),
        AGE,
        Column("VolumeMode", priority=1),
    ),
)
