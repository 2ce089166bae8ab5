"""The kinds of storage.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.resource import Resource
from minikube_py.api.storage.csidriver import CSIDRIVERS
from minikube_py.api.storage.csinode import CSINODES
from minikube_py.api.storage.csistoragecapacity import CSISTORAGECAPACITIES
from minikube_py.api.storage.storageclass import STORAGECLASSES
from minikube_py.api.storage.volumeattachment import VOLUMEATTACHMENTS
from minikube_py.api.storage.volumeattributesclass import VOLUMEATTRIBUTESCLASSES

RESOURCES: tuple[Resource, ...] = (
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    STORAGECLASSES,
    VOLUMEATTACHMENTS,
    VOLUMEATTRIBUTESCLASSES,
)

__all__ = [
    "CSIDRIVERS",
    "CSINODES",
    "CSISTORAGECAPACITIES",
    "RESOURCES",
    "STORAGECLASSES",
    "VOLUMEATTACHMENTS",
    "VOLUMEATTRIBUTESCLASSES",
]
