"""Device classes: kinds of devices that claims ask for."""

from minikube_py.api.resource import Resource

DEVICECLASSES = Resource(
    group="resource.k8s.io",
    returns_deleted_object=True,
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    schema="io.k8s.api.resource.v1.DeviceClass",
)
