"""Resource quotas: how much a namespace may use."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

RESOURCEQUOTAS = Resource(
    returns_deleted_object=True,
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    schema="io.k8s.api.core.v1.ResourceQuota",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Request"),
        Column("Limit"),
        AGE,
    ),
)
