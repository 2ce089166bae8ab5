"""The webhooks of all configurations of a kind, read when one changes and not when one is asked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.api.admissionregistration import expressions
from minikube_py.api.admissionregistration.expressions import ExpressionError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.matching import Criteria, webhook_criteria
from minikube_py.server.admission.policy_expressions import Expression
from minikube_py.server.webhook.client import Target
from minikube_py.server.webhook.errors import WebhookError

TIMEOUT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One webhook of a configuration."""

    name: str
    configuration: str
    key: tuple[str, str, int]
    """Names it among all, also where a name stands twice: configuration, name, count."""
    criteria: Criteria
    target: Target | WebhookError
    """Where it is, or why that cannot be said."""
    fails: bool
    """Whether a request fails where the webhook cannot be asked (failurePolicy Fail)."""
    review_versions: tuple[str, ...]
    timeout_seconds: int
    side_effects: str | None
    conditions: tuple[tuple[str, Expression], ...]
    again: bool
    """Whether it is asked again where the object changed after it (reinvocationPolicy IfNeeded)."""


@dataclass
class WebhookSet:
    """The webhooks of one kind of configuration, in the order in which they are asked."""

    configurations: Lister
    locate: Callable[[Obj], Target]
    """Makes the target of a clientConfig; raises WebhookError."""
    _seen: int = -1
    _active: Sequence[Webhook] = ()
    _known: dict[str, tuple[int, tuple[Webhook, ...]]] = field(default_factory=dict)

    def active(self) -> Sequence[Webhook]:
        """Return all webhooks, by the names of their configurations."""
        revision = self.configurations.revision
        if revision != self._seen:
            self._active = tuple(self._build())
            self._seen = revision
        return self._active

    def _build(self) -> Iterable[Webhook]:
        before, self._known = self._known, {}
        for item in sorted(self.configurations.items(), key=_name):
            known = before.get(item.key.name)
            if known is None or known[0] != item.revision:
                known = (item.revision, tuple(self._read(item.obj)))
            self._known[item.key.name] = known
            yield from known[1]

    def _read(self, configuration: Obj) -> Iterator[Webhook]:
        counts: dict[str, int] = {}
        for webhook in configuration.get("webhooks") or ():
            name = webhook["name"]
            counts[name] = counts.get(name, -1) + 1
            yield self._webhook(webhook, configuration["metadata"]["name"], counts[name])

    def _webhook(self, webhook: Obj, configuration: str, count: int) -> Webhook:
        try:
            target: Target | WebhookError = self.locate(webhook.get("clientConfig") or {})
        except WebhookError as error:
            target = error
        return Webhook(
            name=webhook["name"],
            configuration=configuration,
            key=(configuration, webhook["name"], count),
            criteria=webhook_criteria(webhook),
            target=target,
            fails=webhook.get("failurePolicy") != "Ignore",
            review_versions=tuple(webhook.get("admissionReviewVersions") or ()),
            timeout_seconds=int(webhook.get("timeoutSeconds") or TIMEOUT_SECONDS),
            side_effects=webhook.get("sideEffects"),
            conditions=tuple(map(_condition, webhook.get("matchConditions") or ())),
            again=webhook.get("reinvocationPolicy") == "IfNeeded",
        )


def _condition(document: Obj) -> tuple[str, Expression]:
    text = document.get("expression", "")
    known: dict[str, Any] = expressions.variables(params=False)
    try:
        return document.get("name", ""), Expression(
            text, expressions.compiled(text, known, expressions.CONDITION)
        )
    except ExpressionError as error:
        return document.get("name", ""), Expression(text, error)


def _name(item: Item) -> str:
    return item.key.name
