"""Mutating admission policies: changes to requests, written in CEL."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

MUTATINGADMISSIONPOLICIES = Resource(
    group="admissionregistration.k8s.io",
    stored_version="v1beta1",
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    columns=(
        NAME,
        Column("Mutations", "integer"),
        Column("ParamKind"),
        AGE,
    ),
)
