"""API services: which server answers for a group and version."""

from minikube_py.api.names import path_segment
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

APISERVICES = Resource(
    group="apiregistration.k8s.io",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    subresources=(Subresource(name="status", shares_object=True),),
    validate_name=path_segment,  # `v1.` is the core group's
    columns=(
        NAME,
        Column("Service"),
        Column("Available"),
        AGE,
    ),
)
