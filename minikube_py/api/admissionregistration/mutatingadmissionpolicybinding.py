"""Bindings of mutating admission policies."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

MUTATINGADMISSIONPOLICYBINDINGS = Resource(
    group="admissionregistration.k8s.io",
    stored_version="v1beta1",
    kind="MutatingAdmissionPolicyBinding",
    plural="mutatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    columns=(
        NAME,
        Column("PolicyName"),
        Column("ParamRef"),
        AGE,
    ),
)
