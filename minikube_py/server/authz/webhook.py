"""Rights by a webhook: a SubjectAccessReview is posted where those before have no opinion.

Authorisation answers at once, from caches; a webhook takes its time. So who is about to ask calls
`prepare` first, which asks the webhook and remembers its answer for `authorize`. Questions that
nobody prepared (the escalation check, expressions) get no opinion. The rules are those of
apiserver's `plugin/pkg/authorizer/webhook`.
"""

from dataclasses import dataclass
from typing import Any

from minikube_py.api import cel
from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from minikube_py.lib.patience import patiently
from minikube_py.server.attributes import Attributes, Decision, UnansweredError
from minikube_py.server.authz.conditions import ConditionError, holds
from minikube_py.server.authz.selection import written
from minikube_py.server.webhook.asking import TIMEOUT_SECONDS, Answers, posted
from minikube_py.server.webhook.client import Post, Target
from minikube_py.server.webhook.errors import WebhookError

VERSIONS = ("v1", "v1beta1")
NO_OPINION = Decision(allowed=False)
SECONDS_MIN = 1.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """In which version the webhook is asked, and how long its answers count."""

    version: str
    allowed_seconds: float
    other_seconds: float
    timeout_seconds: float = TIMEOUT_SECONDS
    denies: bool = False
    """Whether a request is refused where the webhook does not answer."""
    conditions: tuple[cel.Program, ...] = ()
    """The webhook is asked about requests for which all of them hold."""

    def seconds(self, decision: Decision) -> float:
        """Return how long a decision counts: long enough that who asked for it can read it."""
        lasts = self.allowed_seconds if decision.allowed else self.other_seconds
        return max(lasts, SECONDS_MIN)


class WebhookAuthorizer:
    """Asks about requests."""

    asks_others = True

    def __init__(self, target: Target, post: Post, clock: Clock, terms: Terms) -> None:
        self._target = target
        self._post = post
        self._clock = clock
        self._terms = terms
        self._answers: Answers[Decision] = Answers(clock)

    def authorize(self, attributes: Attributes) -> Decision:
        """Return what the webhook said when it was asked; no opinion where it was not."""
        key = self._answers.key(spec_of(attributes, self._terms.version))
        return self._answers.find(key) or NO_OPINION

    async def prepare(self, attributes: Attributes) -> None:
        """Ask the webhook, where its answer is not known.

        Raises:
            UnansweredError: it gives none.

        """
        spec = spec_of(attributes, self._terms.version)
        key = self._answers.key(spec)
        try:
            if self._answers.find(key) is None and await self._is_meant(attributes):
                await self._answers.get(key, lambda: self._ask(spec), self._terms.seconds)
        except (WebhookError, ConditionError) as error:
            message = f'Internal Server Error: "{attributes.path}": {error}'
            raise UnansweredError(message, why=str(error), denies=self._terms.denies) from error

    async def _is_meant(self, attributes: Attributes) -> bool:
        conditions = self._terms.conditions
        return not conditions or await patiently(lambda: holds(conditions, attributes))

    async def _ask(self, spec: Obj) -> Decision:
        document = {
            "kind": "SubjectAccessReview",
            "apiVersion": f"authorization.k8s.io/{self._terms.version}",
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": {"allowed": False},
        }
        answer = await posted(
            self._post,
            self._target,
            document,
            self._clock,
            timeout_seconds=self._terms.timeout_seconds,
        )
        return _read(answer)


def spec_of(attributes: Attributes, version: str) -> dict[str, Any]:
    """Return the spec of a SubjectAccessReview; v1beta1 has another name for the groups."""
    user = attributes.user
    spec: dict[str, Any] = {
        "user": user.name,
        "group" if version == "v1beta1" else "groups": list(user.groups),
        "uid": user.uid,
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    if attributes.is_resource:
        wanted = {
            "namespace": attributes.namespace,
            "verb": attributes.verb,
            "group": attributes.group,
            "version": attributes.version,
            "resource": attributes.resource,
            "subresource": attributes.subresource,
            "name": attributes.name,
        }
        named = {key: value for key, value in wanted.items() if value}
        return {"resourceAttributes": {**named, **written(attributes)}, **_given(spec)}
    path = {"path": attributes.path, "verb": attributes.verb}
    return {"nonResourceAttributes": path, **_given(spec)}


def _given(spec: Obj) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if value}


def _read(document: Any) -> Decision:
    status = document.get("status") if isinstance(document, dict) else None
    if not isinstance(status, dict):
        raise WebhookError("the answer is no SubjectAccessReview with a status")
    allowed, denied = status.get("allowed") is True, status.get("denied") is True
    reason = status.get("reason")
    if allowed and denied:
        raise WebhookError("webhook subject access review returned both allow and deny response")
    return Decision(allowed, denied, reason if isinstance(reason, str) else "")
