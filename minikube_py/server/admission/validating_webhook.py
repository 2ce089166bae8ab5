"""ValidatingAdmissionWebhook: services that may refuse a request, all asked at the same time."""

import logging
from collections.abc import Sequence

from minikube_py.api.errors import StatusError
from minikube_py.api.resource import Resource
from minikube_py.lib.tasks import together
from minikube_py.server.admission.webhook_calls import WebhookCalls, failure
from minikube_py.server.admission.webhook_set import Webhook
from minikube_py.server.attributes import Admission, AdmissionPlugin
from minikube_py.server.webhook.errors import WebhookError

log = logging.getLogger(__name__)
FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io"


class ValidatingAdmissionWebhook(AdmissionPlugin):
    """Asks the webhooks that validate."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, calls: WebhookCalls) -> None:
        self._calls = calls

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Ask every webhook that the request is for; the first refusal, by name, counts."""
        webhooks = self._calls.active(admission)
        if not webhooks:
            return ()
        wanted = []
        for webhook in webhooks:
            matched = await self._calls.matched(webhook, admission)
            if matched is not None:
                wanted.append((webhook, matched))
        outcomes = await together(
            self._ask(index, webhook, matched, admission)
            for index, (webhook, matched) in enumerate(wanted)
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return ()

    async def _ask(
        self, index: int, webhook: Webhook, matched: Resource, admission: Admission
    ) -> StatusError | None:
        """Return why the webhook keeps the request from going on."""
        try:
            await self._calls.ask(webhook, admission, matched, mutating=False)
        except WebhookError as error:
            if webhook.fails:
                return failure(webhook, error)
            log.warning("webhook failed, going on without it webhook=%s: %s", webhook.name, error)
            admission.annotations.add(f"{FAILED_OPEN}/round_0_index_{index}", webhook.name)
        except StatusError as error:
            return error
        return None
