"""Validating admission policies: rules for requests, written in CEL."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

VALIDATINGADMISSIONPOLICIES = Resource(
    group="admissionregistration.k8s.io",
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Validations", "integer"),
        Column("ParamKind"),
        AGE,
    ),
)
