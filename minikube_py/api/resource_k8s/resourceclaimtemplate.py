"""Resource claim templates: a claim for every pod."""

from minikube_py.api.resource import Resource

RESOURCECLAIMTEMPLATES = Resource(
    group="resource.k8s.io",
    returns_deleted_object=True,
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    schema="io.k8s.api.resource.v1.ResourceClaimTemplate",
)
