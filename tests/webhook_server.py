"""A webhook on loopback: an HTTPS server that answers reviews as a test wants."""

import asyncio
import base64
import contextlib
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from minikube_py.lib import pki

Request = dict[str, Any]
Answer = dict[str, Any] | web.StreamResponse | None
"""A whole answer, or the `response` of a review; None ends the connection without any."""
Reply = Callable[[Request], Answer | Awaitable[Answer]]
NAMES = ("localhost", "127.0.0.1", "hook.default.svc", "hook.kube-system.svc")


class WebhookServer:
    """Answers by path; what it was asked is kept."""

    def __init__(self, port: int, authority: pki.Pair, context: ssl.SSLContext) -> None:
        self.port = port
        self.context = context
        self.bundle = base64.b64encode(authority.certificate_pem).decode()
        self.replies: dict[str, Reply] = {}
        self.asked: list[tuple[str, Request]] = []
        self.headers: list[Any] = []
        self.connections: set[Any] = set()
        self.released = asyncio.Event()
        self.folder = Path()
        """For what a test writes."""

    def client(self, path: str) -> dict[str, Any]:
        """Return the clientConfig that leads to a path."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}

    def requests(self, path: str) -> list[Request]:
        return [request for name, request in self.asked if name == path]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.connections.add(request.transport)
        document = orjson.loads(await request.read())
        asked = document.get("request") or document
        self.asked.append((request.path, asked))
        self.headers.append(dict(request.headers, query=request.query_string))
        reply = self.replies[request.path](asked)
        said = await reply if inspect.isawaitable(reply) else reply
        if said is None:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if isinstance(said, web.StreamResponse):
            return said
        if "kind" not in said:
            answer = {"uid": asked.get("uid"), **said}
            said = {"kind": document["kind"], "apiVersion": document["apiVersion"]}
            said["response"] = answer
        return web.Response(body=orjson.dumps(said), content_type="application/json")

    async def hang(self, _request: Request) -> Answer:
        """Answer only once the test is over."""
        await self.released.wait()
        return {"allowed": True}


@contextlib.asynccontextmanager
async def webhook_server(folder: Path, authority: pki.Pair) -> AsyncIterator[WebhookServer]:
    """Run a webhook whose certificate an authority signed."""
    subject = pki.Subject(name="hook", alternatives=NAMES)
    now = datetime.now(UTC)
    leaf = pki.ensure_leaf(folder, "hook", authority, subject, "server", now=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate_path, leaf.key_path)
    holder: list[WebhookServer] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await holder[0].handle(request)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        holder.append(WebhookServer(runner.addresses[0][1], authority, context))
        yield holder[0]
    finally:
        if holder:
            holder[0].released.set()
        await runner.cleanup()


def allow(_request: Request) -> Answer:
    return {"allowed": True}


def deny(message: str, **status: Any) -> Reply:
    return lambda _request: {"allowed": False, "status": {"message": message, **status}}


def patch(*operations: dict[str, Any]) -> Reply:
    text = base64.b64encode(orjson.dumps(operations)).decode()
    return lambda _request: {"allowed": True, "patch": text, "patchType": "JSONPatch"}
