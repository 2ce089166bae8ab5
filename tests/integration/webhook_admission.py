"""What tests of admission webhooks share: how one is registered, and what it is asked about."""

from typing import Any

from tests.integration.conftest import Answer, Server
from tests.webhook_server import WebhookServer, patch

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/stable.example.com/v1/namespaces/default/widgets"


def rule(*resources: str, **more: Any) -> dict[str, Any]:
    return {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": list(resources),
        **more,
    }


def hook(far: WebhookServer, path: str, *rules: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": "hook.example.com",
        "clientConfig": far.client(path),
        "rules": list(rules) or [rule("configmaps")],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"],
        "timeoutSeconds": 30,
        **more,
    }


async def register(server: Server, kind: str, name: str, *hooks: Any, **labels: str) -> Answer:
    """Register webhooks; `kind` is mutating or validating."""
    document = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind.capitalize()}WebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": list(hooks),
    }
    answer = await server.call("POST", f"{ADMISSION}/{kind}webhookconfigurations", document)
    assert answer.status == 201, answer.body
    return answer


async def make(server: Server, name: str, data: Any = None, query: str = "") -> Answer:
    body = {"metadata": {"name": name}, "data": data or {"a": "b"}}
    return await server.call("POST", CONFIGMAPS + query, body)


def denied(answer: Answer, message: str, code: int = 400) -> None:
    expected = f'admission webhook "hook.example.com" denied the request: {message}'
    assert (answer.status, answer.body["message"]) == (code, expected)


def setting(key: str) -> Any:
    return patch({"op": "add", "path": f"/data/{key}", "value": "yes"})
