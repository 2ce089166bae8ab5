"""Mutating webhooks: services that may change what is written."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

MUTATINGWEBHOOKCONFIGURATIONS = Resource(
    group="admissionregistration.k8s.io",
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    columns=(
        NAME,
        Column("Webhooks", "integer"),
        AGE,
    ),
)
