"""Resource slices: the devices that a driver offers."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource

RESOURCESLICES = Resource(
    group="resource.k8s.io",
    returns_deleted_object=True,
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    schema="io.k8s.api.resource.v1.ResourceSlice",
    columns=(
        NAME,
        Column("Node"),
        Column("Driver"),
        Column("Pool"),
        AGE,
    ),
    selectable_fields={
        "spec.driver": lambda obj: get(obj, "spec.driver", ""),
        "spec.nodeName": lambda obj: get(obj, "spec.nodeName", ""),
    },
)
