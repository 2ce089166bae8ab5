"""What mutating and validating webhooks share: whether one is asked, and how."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from minikube_py.api.errors import BadRequestError, InternalError, StatusError
from minikube_py.api.resource import Resource
from minikube_py.lib.patience import patiently
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.admission.matching import Matcher, is_exempt
from minikube_py.server.admission.policy_calls import conditions_hold
from minikube_py.server.admission.policy_expressions import (
    Activation,
    EvaluationError,
    authorizer_bindings,
    request_of,
)
from minikube_py.server.admission.webhook_metrics import WebhookMetrics
from minikube_py.server.admission.webhook_review import (
    Answer,
    Question,
    answer_of,
    denial,
    review,
    version_of,
)
from minikube_py.server.admission.webhook_set import Webhook, WebhookSet
from minikube_py.server.attributes import Admission, Authorizer
from minikube_py.server.registry.versions import in_version
from minikube_py.server.webhook.client import Post
from minikube_py.server.webhook.errors import WebhookError

SERVER = "system:apiserver"
WITHOUT_EFFECTS = ("None", "NoneOnDryRun")


class WebhookCalls:
    """Asks the webhooks of one kind of configuration."""

    def __init__(
        self,
        webhooks: WebhookSet,
        matcher: Matcher,
        authorizer: Authorizer,
        post: Post,
        *,
        metrics: WebhookMetrics,
        starting: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make them; `starting` tells whether the server is not ready yet.

        Until it is, its own writes are not asked about: a webhook in the cluster could not answer,
        and the server would never start.
        """
        self._metrics = metrics
        self._starting = starting
        self._webhooks = webhooks
        self._matcher = matcher
        self._authorizer = authorizer
        self._post = post

    def active(self, admission: Admission) -> Sequence[Webhook]:
        """Return the webhooks that there are, none for what configures admission."""
        webhooks = self._webhooks.active()
        if not webhooks or is_exempt(admission):
            return ()
        own = admission.user.name == SERVER
        return () if own and self._starting() else webhooks

    async def matched(self, webhook: Webhook, admission: Admission) -> Resource | None:
        """Return the version in which a webhook sees the request, None where it is not asked.

        Raises:
            StatusError: a match condition fails, or the namespace of the request is gone.

        """
        found = self._matcher.match(webhook.criteria, admission)
        if found is None or not webhook.conditions:
            return found
        bindings: dict[str, Any] = {
            **authorizer_bindings(admission, self._authorizer),
            "namespaceObject": None,
            "request": request_of(admission, found),
            "object": await in_version(admission.resource, found, admission.obj),
            "oldObject": await in_version(admission.resource, found, admission.old),
        }
        try:
            holds = await patiently(lambda: conditions_hold(webhook, Activation(bindings)))
        except EvaluationError as error:
            raise forbidden(admission, str(error)) from error
        return found if holds else None

    async def ask(
        self, webhook: Webhook, admission: Admission, matched: Resource, *, mutating: bool
    ) -> tuple[Question, Answer]:
        """Ask a webhook; warnings and annotations of its answer are noted.

        Raises:
            WebhookError: it gave no answer.
            StatusError: it denies the request, or the request is a dry run that it is not for.

        """
        labels = {
            "name": webhook.name,
            "operation": admission.operation,
            "type": "admit" if mutating else "validating",
        }
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            said = await self._ask(webhook, admission, matched, mutating=mutating)
        except WebhookError:
            self._metrics.called(labels, loop.time() - began, 500, rejected=webhook.fails)
            if webhook.fails:
                self._metrics.rejected(labels, "calling_webhook_error", 500)
            else:
                self._metrics.failed_open(labels)
            raise
        except StatusError as error:
            self._metrics.called(labels, loop.time() - began, error.code, rejected=True)
            self._metrics.rejected(labels, "no_error", error.code)
            raise
        self._metrics.called(labels, loop.time() - began, 200, rejected=False)
        return said

    async def _ask(
        self, webhook: Webhook, admission: Admission, matched: Resource, *, mutating: bool
    ) -> tuple[Question, Answer]:
        self._check_dry_run(webhook, admission)
        if isinstance(webhook.target, WebhookError):
            raise WebhookError(f"could not get REST client: {webhook.target}")
        question = Question(
            uid=str(uuid.uuid4()),
            version=version_of(webhook.review_versions),
            matched=matched,
            obj=await in_version(admission.resource, matched, admission.obj),
            old=await in_version(admission.resource, matched, admission.old),
        )
        try:
            document = await self._post(
                webhook.target,
                review(admission, question),
                timeout_seconds=webhook.timeout_seconds,
                announced=True,
            )
        except WebhookError as error:
            raise WebhookError(f"failed to call webhook: {error}") from error
        answer = answer_of(document, question, mutating=mutating)
        for key, value in answer.annotations.items():
            admission.annotations.add(f"{webhook.name}/{key}", value)
        admission.warnings.extend(answer.warnings)
        if not answer.allowed:
            raise denial(webhook.name, answer.status)
        return question, answer

    @staticmethod
    def _check_dry_run(webhook: Webhook, admission: Admission) -> None:
        if not admission.dry_run:
            return
        if webhook.side_effects is None:
            raise WebhookError("Webhook SideEffects is nil")
        if webhook.side_effects not in WITHOUT_EFFECTS:
            raise BadRequestError(f'admission webhook "{webhook.name}" does not support dry run')


def failure(webhook: Webhook, error: WebhookError) -> InternalError:
    """Return the refusal of a request whose webhook could not be asked."""
    what = f'failed calling webhook "{webhook.name}": {error}'
    return internal(what)


def internal(what: str) -> InternalError:
    """Return a fault with its cause, as apimachinery's NewInternalError words it."""
    return InternalError(f"Internal error occurred: {what}", causes=[{"message": what}])
