"""Bindings of validating admission policies."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

VALIDATINGADMISSIONPOLICYBINDINGS = Resource(
    group="admissionregistration.k8s.io",
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    columns=(
        NAME,
        Column("PolicyName"),
        Column("ParamRef"),
        AGE,
    ),
)
