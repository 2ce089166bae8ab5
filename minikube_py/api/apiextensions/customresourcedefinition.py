"""Custom resource definitions: kinds that users add."""

from minikube_py.api.resource import NAME, Column, Resource, Subresource

CUSTOMRESOURCEDEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    stored_version="v1beta1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    schema="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Created At", "date"),
    ),
)
