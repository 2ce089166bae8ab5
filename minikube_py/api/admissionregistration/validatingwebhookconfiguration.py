"""Validating webhooks: services that may refuse what is written."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

VALIDATINGWEBHOOKCONFIGURATIONS = Resource(
    group="admissionregistration.k8s.io",
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    columns=(
        NAME,
        Column("Webhooks", "integer"),
        AGE,
    ),
)
