"""What tests of conversion webhooks share: a kind in two versions that become each other."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.integration.conftest import Answer, Server
from tests.webhook_server import WebhookServer

GROUP = "stable.example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = f"{DEFINITIONS}/endpoints.{GROUP}"
MERGE = "application/merge-patch+json"


def path(version: str, name: str = "", namespace: str = "default") -> str:
    base = f"/apis/{GROUP}/{version}/namespaces/{namespace}/endpoints"
    return f"{base}/{name}" if name else base


def converted(obj: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Turn `hostPort: host:port` of v1 into `host` and `port` of v2, and back."""
    kept = {key: value for key, value in obj.items() if key not in ("host", "port", "hostPort")}
    kept["apiVersion"] = api_version
    if api_version.endswith("/v2"):
        host, _, port = obj.get("hostPort", ":").partition(":")
        return {**kept, "host": host, "port": port}
    return {**kept, "hostPort": f"{obj.get('host', '')}:{obj.get('port', '')}"}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    wanted = request["desiredAPIVersion"]
    objects = [converted(obj, wanted) for obj in request["objects"]]
    return {"convertedObjects": objects, "result": {"status": "Success"}}


def version(name: str, *fields: str, stored: str) -> dict[str, Any]:
    properties = {field: {"type": "string"} for field in fields}
    return {
        "name": name,
        "served": True,
        "storage": name == stored,
        "selectableFields": [{"jsonPath": f".{field}"} for field in fields],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }


def versions(stored: str) -> list[dict[str, Any]]:
    return [
        version("v1", "hostPort", stored=stored),
        version("v2", "host", "port", stored=stored),
    ]


def definition(far: WebhookServer, stored: str = "v1", **webhook: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"endpoints.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "endpoints", "kind": "Endpoint"},
            "versions": versions(stored),
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": far.client("/convert"),
                    "conversionReviewVersions": ["v1", "v1beta1"],
                    **webhook,
                },
            },
        },
    }


async def defined(server: Server, document: dict[str, Any]) -> None:
    answer = await server.call("POST", DEFINITIONS, document)
    assert answer.status == 201, answer.body
    await served(server)


async def until(server: Server, where: str, done: Callable[[Answer], bool]) -> None:
    """Ask until the answer is as it should be; a minute is more than any machine needs."""
    async with asyncio.timeout(60):
        while not done(await server.call("GET", where)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def served(server: Server) -> None:
    """Ask until both versions are there."""
    for name in ("v1", "v2"):
        await until(server, path(name), lambda answer: answer.status != 404)


def first(name: str, host_port: str = "localhost:80", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Endpoint",
        "metadata": {"name": name, **meta},
        "hostPort": host_port,
    }


def second(name: str, host: str = "localhost", port: str = "80") -> dict[str, Any]:
    meta = {"name": name}
    return {
        "apiVersion": f"{GROUP}/v2",
        "kind": "Endpoint",
        "metadata": meta,
        "host": host,
        "port": port,
    }


def is_second(obj: dict[str, Any], host: str, port: str) -> bool:
    assert obj["apiVersion"] == f"{GROUP}/v2"
    return (obj["host"], obj["port"]) == (host, port) and "hostPort" not in obj


async def store_second(server: Server) -> None:
    """Make v2 the stored version, and wait until that is so."""
    change = {"spec": {"versions": versions("v2")}}
    answer = await server.call("PATCH", DEFINITION, change, content_type=MERGE)
    assert answer.status == 200, answer.body

    def is_done(crd: Answer) -> bool:
        return bool(crd.body["status"]["storedVersions"] == ["v1", "v2"])

    await until(server, DEFINITION, is_done)
