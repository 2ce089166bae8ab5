"""MutatingAdmissionWebhook: services that may change the object of a request, one after another.

Each sees what those before it made of the object. Where one changed it, the whole chain runs once
more, and in this second round those webhooks are asked again that were asked before the change and
say IfNeeded. Rules and texts are those of apiserver's `admission/plugin/webhook/mutating`.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import orjson

from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj
from minikube_py.api.patch import json_patch
from minikube_py.api.patch.errors import InapplicablePatchError, PatchError
from minikube_py.api.resource import Resource
from minikube_py.server.admission.webhook_calls import WebhookCalls, failure, internal
from minikube_py.server.admission.webhook_review import JSON_PATCH, Answer, Question
from minikube_py.server.admission.webhook_set import Webhook
from minikube_py.server.apiserver import body
from minikube_py.server.attributes import Admission, AdmissionPlugin
from minikube_py.server.registry.versions import in_version
from minikube_py.server.webhook.errors import WebhookError

log = logging.getLogger(__name__)
MUTATION = "mutation.webhook.admission.k8s.io"
PATCH = "patch.webhook.admission.k8s.io"
FAILED_OPEN = "failed-open.mutation.webhook.admission.k8s.io"


@dataclass(frozen=True)
class _Place:
    """Which webhook in which round, as annotations tell it."""

    webhook: Webhook
    round: int
    index: int

    def key(self, prefix: str) -> str:
        return f"{prefix}/round_{self.round}_index_{self.index}"

    def text(self, **more: Any) -> str:
        named = {"configuration": self.webhook.configuration, "webhook": self.webhook.name}
        return orjson.dumps({**named, **more}).decode()


class MutatingAdmissionWebhook(AdmissionPlugin):
    """Asks the webhooks that mutate."""

    name = "MutatingAdmissionWebhook"

    def __init__(self, calls: WebhookCalls) -> None:
        self._calls = calls

    async def admit(self, admission: Admission) -> Obj | None:
        """Return the object as the webhooks change it."""
        webhooks = self._calls.active(admission)
        if not webhooks:
            return admission.obj
        reinvocation = admission.reinvocation
        memory = reinvocation.of(self.name)
        if reinvocation.again and memory.last != admission.obj:
            memory.require_earlier()
        for index, webhook in enumerate(webhooks):
            matched = await self._calls.matched(webhook, admission)
            if matched is None or (reinvocation.again and webhook.key not in memory.required):
                continue
            place = _Place(webhook, int(reinvocation.again), index)
            changed = await self._ask(place, matched, admission)
            if changed is not None:
                admission = replace(admission, obj=changed)
                memory.require_earlier()
                reinvocation.wanted = True
            if webhook.again:
                memory.earlier.add(webhook.key)
        memory.last = admission.obj
        return admission.obj

    async def _ask(self, place: _Place, matched: Resource, admission: Admission) -> Obj | None:
        """Ask one webhook; return the object as it wants it, None where it leaves it."""
        changed: Obj | None = None
        try:
            question, answer = await self._calls.ask(
                place.webhook, admission, matched, mutating=True
            )
            changed = await _patched(place, admission, question, answer)
        except WebhookError as error:
            if place.webhook.fails:
                raise failure(place.webhook, error) from error
            name = place.webhook.name
            log.warning("webhook failed, going on without it webhook=%s: %s", name, error)
            admission.annotations.add(place.key(FAILED_OPEN), name)
        finally:
            text = place.text(mutated=changed is not None)
            admission.annotations.add(place.key(MUTATION), text)
        return changed


async def _patched(
    place: _Place, admission: Admission, question: Question, answer: Answer
) -> Obj | None:
    """Return the object after a webhook's patch, None where nothing changes."""
    patch = _operations(answer.patch)
    if not patch:
        return None
    if question.obj is None:
        raise internal(
            f'admission webhook "{place.webhook.name}" attempted to modify the object, which is '
            "not supported for this operation"
        )
    if answer.patch_type != JSON_PATCH:
        raise WebhookError(f"unsupported patch type {orjson.dumps(answer.patch_type).decode()}")
    try:
        document = json_patch.apply(question.obj, patch)
    except InapplicablePatchError as error:
        raise internal(error.cause) from error
    except PatchError as error:
        raise internal(error.message) from error
    changed = _fitted(question.matched, admission.subresource, document)
    shown = place.text(patch=patch, patchType=answer.patch_type)
    admission.annotations.add(place.key(PATCH), shown, "Request")
    if changed == question.obj:
        return None
    return await in_version(question.matched, admission.resource, changed)


def _operations(patch: bytes) -> Any:
    try:
        operations = orjson.loads(patch) if patch else ()
    except ValueError as error:
        raise internal(f"error decoding patch: {error}") from error
    if not isinstance(operations, list | tuple | None):
        raise internal("error decoding patch: json: cannot unmarshal into Go value of type Patch")
    return operations


def _fitted(resource: Resource, subresource: str, document: dict[str, Any]) -> Obj:
    """Return a patched document as its kind has it: checked, pruned, with defaults."""
    if resource.kind_at(subresource)[2] != resource.kind:
        return document
    try:
        body.check_depth(document)
        return body.decode(document, resource, validation="Ignore").obj
    except StatusError as error:
        raise internal(error.message) from error
