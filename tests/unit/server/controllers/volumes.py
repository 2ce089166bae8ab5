"""Volumes, claims and storage classes, with what a test needs to say of them."""

from typing import Any

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.storage import STORAGECLASSES
from tests.frozen import freeze


def volume(name: str = "v", size: str = "1Gi", **more: Any) -> Any:
    phase = more.pop("phase", "Available")
    metadata = {"name": name, **more.pop("metadata", {})}
    spec = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], **more}
    spec.setdefault("hostPath", {"path": f"/{name}"})
    obj = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata}
    return freeze(PERSISTENTVOLUMES.default({**obj, "spec": spec, "status": {"phase": phase}}))


def claim(name: str = "c", size: str = "1Gi", **more: Any) -> Any:
    phase = more.pop("phase", "Pending")
    metadata = {"name": name, "namespace": "d", "uid": f"uid-{name}", **more.pop("metadata", {})}
    requests = {"requests": {"storage": size}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": requests, **more}
    obj = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    return freeze(PERSISTENTVOLUMECLAIMS.default({**obj, "spec": spec, "status": {"phase": phase}}))


def storage_class(name: str = "fast", provisioner: str = "example.com/disk", **more: Any) -> Any:
    metadata = {"name": name, **more.pop("metadata", {})}
    obj = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata}
    return freeze(STORAGECLASSES.default({**obj, "provisioner": provisioner, **more}))


def ref(one: Any, **more: Any) -> dict[str, Any]:
    """Return what a volume says of its claim."""
    metadata = one["metadata"]
    return {"namespace": "d", "name": metadata["name"], "uid": metadata["uid"], **more}
