"""Mutating webhooks: services that may change what is written."""

from collections.abc import Iterator

from minikube_py.api import strategy
from minikube_py.api.admissionregistration import matching, webhooks
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Column, Resource
from minikube_py.api.strategy import changed, each, with_absent


def default(configuration: Obj) -> Obj:
    """Fill in what the user left out."""
    return changed(configuration, "webhooks", lambda items: each(items, _default_webhook))


def _default_webhook(webhook: Obj) -> Obj:
    return with_absent(webhooks.default_webhook(webhook), {"reinvocationPolicy": "Never"})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated configuration."""
    yield from webhooks.validate_webhooks(new, old, mutating=True)


MUTATINGWEBHOOKCONFIGURATIONS = Resource(
    group=matching.GROUP,
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    columns=(NAME, Column("Webhooks", "integer"), AGE),
    cells=webhooks.cells,
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("webhooks", keep=()),
    validate=validate,
    allow_unconditional_update=False,
)
