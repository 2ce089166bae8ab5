"""A far end that answers reviews as a test wants, and the plugins that ask it."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from minikube_py.api.core import CONFIGMAPS
from minikube_py.api.errors import StatusError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Obj
from minikube_py.api.scheme import Scheme
from minikube_py.server.admission.matching import Matcher
from minikube_py.server.admission.mutating_webhook import MutatingAdmissionWebhook
from minikube_py.server.admission.validating_webhook import ValidatingAdmissionWebhook
from minikube_py.server.admission.webhook_calls import WebhookCalls
from minikube_py.server.admission.webhook_metrics import WebhookMetrics
from minikube_py.server.admission.webhook_set import WebhookSet
from minikube_py.server.attributes import Admission, Attributes, Decision, User
from minikube_py.server.webhook.client import Target
from minikube_py.server.webhook.errors import WebhookError
from tests.frozen import freeze

Listing = Callable[..., Any]
Reply = Callable[[dict[str, Any]], Mapping[str, Any]]
SCHEME = Scheme(BUILTIN)


class Yes:
    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(attributes.user.name == "u")


class FarEnd:
    """Answers reviews by the URL that they are posted to, and remembers them."""

    def __init__(self, **replies: Reply) -> None:
        self.replies = replies
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.timeouts: list[float] = []

    async def post(
        self, target: Target, document: Obj, *, timeout_seconds: float, announced: bool = False
    ) -> Any:
        assert announced
        name = target.url
        self.timeouts.append(timeout_seconds)
        request = orjson.loads(orjson.dumps(document))["request"]
        self.asked.append((name, request))
        said = self.replies[name](request)
        if "response" in said or "kind" in said:
            return said
        return {
            "kind": "AdmissionReview",
            "apiVersion": document["apiVersion"],
            "response": {"uid": request["uid"], "allowed": True, **said},
        }

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


def allow(_request: Obj) -> Obj:
    return {}


def deny(_request: Obj) -> Obj:
    return {"allowed": False, "status": {"message": "no"}}


def unreachable(_request: Obj) -> Obj:
    raise WebhookError('Post "https://a/": dial tcp 10.0.0.1:443: connect: connection refused')


def patching(*operations: Obj) -> Reply:
    text = base64.b64encode(orjson.dumps(operations)).decode()
    return lambda _request: {"patch": text, "patchType": "JSONPatch"}


def setting(key: str, value: str = "yes") -> Reply:
    return patching({"op": "add", "path": f"/data/{key}", "value": value})


def hook(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "clientConfig": {"url": url},
        "rules": [
            {
                "operations": ["*"],
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "resources": ["*/*"],
                "scope": "*",
            }
        ],
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 10,
        "admissionReviewVersions": ["v1"],
        **more,
    }


def configuration(name: str, *webhooks: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "webhooks": list(webhooks)}


def ask(resource: Any = CONFIGMAPS, **more: Any) -> Admission:
    head = {"kind": resource.kind, "apiVersion": resource.api_version}
    obj = {**head, "metadata": {"name": "x", "namespace": "a"}, "data": {"a": "b"}}
    return Admission(
        **{
            "user": User("u", ("g",)),
            "operation": "CREATE",
            "resource": resource,
            "namespace": "a",
            "name": "x",
            "obj": freeze(obj),
            **more,
        }
    )


def calls(listing: Listing, far: FarEnd, *configurations: Any, **more: Any) -> WebhookCalls:
    webhooks = WebhookSet(listing(*configurations), lambda client: Target(client["url"]))
    matcher = Matcher(SCHEME, listing({"metadata": {"name": "a"}}))
    metrics = more.pop("metrics", WebhookMetrics())
    return WebhookCalls(webhooks, matcher, Yes(), far.post, metrics=metrics, **more)


def validating(listing: Listing, far: FarEnd, *configurations: Any) -> ValidatingAdmissionWebhook:
    return ValidatingAdmissionWebhook(calls(listing, far, *configurations))


def mutating(listing: Listing, far: FarEnd, *configurations: Any) -> MutatingAdmissionWebhook:
    return MutatingAdmissionWebhook(calls(listing, far, *configurations))


async def refusal(plugin: Any, admission: Admission) -> StatusError:
    async def run() -> None:
        await plugin.admit(admission)
        await plugin.validate(admission)

    with pytest.raises(StatusError) as caught:
        await run()
    return caught.value
