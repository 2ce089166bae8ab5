"""Resource claims: devices that a pod asks for."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

RESOURCECLAIMS = Resource(
    group="resource.k8s.io",
    returns_deleted_object=True,
    kind="ResourceClaim",
    plural="resourceclaims",
    schema="io.k8s.api.resource.v1.ResourceClaim",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("State"),
        AGE,
    ),
)
