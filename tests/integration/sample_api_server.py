"""A small aggregated API server: `wardle.example.com/v1alpha1`, flunders, in memory.

It believes the X-Remote- headers of whoever shows a certificate of the authority that the config
map `extension-apiserver-authentication` names, as k8s.io/sample-apiserver does; it has a watch that
streams, an upgrade that echoes, and discovery in both forms.
"""

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from minikube_py.lib import authority, pki

GROUP, VERSION = "wardle.example.com", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
SERVICE, NAMESPACE = "sample-api", "sample-system"
RESOURCE = {
    "name": "flunders",
    "singularName": "flunder",
    "namespaced": True,
    "kind": "Flunder",
    "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
}
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [RESOURCE],
}
AGGREGATED = {
    "kind": "APIGroupDiscoveryList",
    "apiVersion": "apidiscovery.k8s.io/v2",
    "metadata": {},
    "items": [
        {
            "metadata": {"name": GROUP},
            "versions": [
                {
                    "version": VERSION,
                    "freshness": "Current",
                    "resources": [
                        {
                            "resource": "flunders",
                            "responseKind": {"group": "", "version": "", "kind": "Flunder"},
                            "scope": "Namespaced",
                            "singularResource": "flunder",
                            "verbs": RESOURCE["verbs"],
                        }
                    ],
                }
            ],
        }
    ],
}
OPENAPI_V2 = {
    "swagger": "2.0",
    "info": {"title": "sample", "version": "v1"},
    "paths": {
        "/version/": {"get": {"responses": {}}},
        f"{ROOT}/namespaces/{{namespace}}/flunders": {
            "get": {
                "operationId": "listFlunders",
                "responses": {"200": {"schema": {"$ref": "#/definitions/example.Flunder"}}},
            }
        },
    },
    "definitions": {
        "example.Flunder": {"type": "object", "properties": {"spec": {"type": "object"}}},
        "example.Unused": {"type": "object"},
    },
}
INDEX_V3 = {"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=1"}}}


class SampleApiServer:
    """A running server; `asked` holds who asked for what."""

    def __init__(self, port: int, ca_pem: bytes) -> None:
        self.port = port
        self.ca_pem = ca_pem
        self.aggregated_discovery = True
        self.ill = False
        self.asked: list[tuple[str, str, web.BaseRequest]] = []
        self.flunders: dict[tuple[str, str], dict[str, Any]] = {}
        self._changed = asyncio.Condition()
        self._log: list[dict[str, Any]] = []
        self._revisions = itertools.count(1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        user = request.headers.get("X-Remote-User")
        if user is None or request.transport is None:
            return web.json_response({"message": "Unauthorized"}, status=401)
        self.asked.append((user, request.method, request))
        if self.ill:
            return web.Response(status=500, text="ill")
        documents: dict[str, Any] = {
            f"/apis/{GROUP}": {"kind": "APIGroup", "name": GROUP},
            ROOT: RESOURCES,
            "/openapi/v2": OPENAPI_V2,
            "/openapi/v3": INDEX_V3,
            f"/openapi/v3{ROOT}": {"openapi": "3.0.0", "paths": {}},
        }
        if request.path == "/apis":
            return self._discovery(request)
        if request.path in documents:
            return web.json_response(documents[request.path])
        if request.path == f"{ROOT}/echo":
            return await self._echo(request)
        return await self._flunders(request)

    def _discovery(self, request: web.BaseRequest) -> web.Response:
        if not self.aggregated_discovery:
            return web.json_response({"kind": "APIGroupList", "groups": []})
        kind = request.headers["Accept"].split(",")[0]
        return web.Response(body=json.dumps(AGGREGATED), headers={"Content-Type": kind})

    async def _echo(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.headers['X-Remote-User']}: {message.data}")
        return socket

    async def _flunders(self, request: web.BaseRequest) -> web.StreamResponse:
        _, _, _, _, _, namespace, plural, *name = request.path.split("/")
        if plural != "flunders":
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        if name:
            return await self._one(request, (namespace, name[0]))
        if request.method == "POST":
            body = json.loads(await request.read())
            return web.json_response(await self._put("ADDED", namespace, body), status=201)
        if request.method == "DELETE":
            for key in list(self.flunders):
                del self.flunders[key]
            return web.json_response({"kind": "Status", "status": "Success"})
        if request.query.get("watch"):
            return await self._watch(request)
        items = [obj for key, obj in self.flunders.items() if key[0] == namespace]
        return web.json_response({"kind": "FlunderList", "metadata": {}, "items": items})

    async def _one(self, request: web.BaseRequest, key: tuple[str, str]) -> web.StreamResponse:
        found = self.flunders.get(key)
        if found is None:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        if request.method == "DELETE":
            del self.flunders[key]
            return web.json_response({"kind": "Status", "status": "Success"})
        if request.method == "PUT":
            found = await self._put("MODIFIED", key[0], json.loads(await request.read()))
        return web.json_response(found)

    async def _put(self, event: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        revision = str(next(self._revisions))
        metadata = {**body["metadata"], "namespace": namespace, "resourceVersion": revision}
        flunder = {**body, "metadata": metadata}
        self.flunders[namespace, metadata["name"]] = flunder
        async with self._changed:
            self._log.append({"type": event, "object": flunder})
            self._changed.notify_all()
        return flunder

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        sent = 0
        while True:
            for event in self._log[sent:]:
                await response.write(json.dumps(event).encode() + b"\n")
            sent = len(self._log)
            async with self._changed:
                while len(self._log) == sent:
                    await self._changed.wait()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, port: int, requestheader_ca: str, *, host: str = "127.0.0.1"
) -> AsyncIterator[SampleApiServer]:
    """Run the server on loopback; it lets in nobody but proxies of that authority."""
    now = datetime.now(UTC)
    ca = authority.ensure_ca(folder, "sample-ca", "sample-ca", now)
    subject = pki.Subject(name=SERVICE, alternatives=(f"{SERVICE}.{NAMESPACE}.svc",))
    pair = pki.ensure_leaf(folder, "sample", ca, subject, "server", now=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate_path, pair.key_path)
    context.load_verify_locations(cadata=requestheader_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = SampleApiServer(port, ca.certificate_pem)
    runner = web.ServerRunner(
        web.Server(server.handle, handler_cancellation=True), shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        yield server
    finally:
        await runner.cleanup()
