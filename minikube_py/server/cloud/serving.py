"""Health checks and metrics of cloud controllers that run in a process of their own.

`/healthz` is open to all, as probes are nobody. For `/metrics` the API server is asked who comes
with a token, and whether they may get that path.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization

from minikube_py.api.authentication import TOKENREVIEWS
from minikube_py.api.authorization import SUBJECTACCESSREVIEWS
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, get
from minikube_py.client.protocol import Client
from minikube_py.lib import pki, tls
from minikube_py.lib.errors import StartError
from minikube_py.lib.prometheus import CONTENT_TYPE
from minikube_py.server.cloud.config import CloudControllerManagerConfig

CLOSE_SECONDS = 1.0
OPEN = ("/healthz", "/livez", "/readyz", "/healthz/leaderElection")
REFUSALS = {
    401: "Unauthorized\n",
    403: "Forbidden\n",
    503: "the API server does not say who asks\n",
}
NAME = "cloud-controller-manager"


class Pages:
    """What is served: whether all is well, and what was counted."""

    def __init__(
        self, client: Client, problem: Callable[[], str | None], lines: Callable[[], Iterable[str]]
    ) -> None:
        """Take what says what is wrong, None where nothing is, and what yields metrics."""
        self._client = client
        self._problem = problem
        self._lines = lines

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="method not allowed\n")
        if request.path in OPEN:
            trouble = self._problem()
            text = "ok" if trouble is None else f"[-]leaderElection failed: {trouble}\n"
            return web.Response(status=200 if trouble is None else 500, text=text)
        try:
            status = await self._refusal(request.headers.get("Authorization", ""), request.path)
        except StatusError:
            status = 503
        if status or request.path != "/metrics":
            return web.Response(status=status or 404, text=REFUSALS.get(status, "not found\n"))
        lines = "".join(f"{line}\n" for line in self._lines())
        return web.Response(body=lines.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _refusal(self, authorization: str, path: str) -> int:
        """Return the status with which somebody is sent away, 0 where they may come."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return 401
        spec = {"token": token.strip()}
        review = await self._client.create(TOKENREVIEWS, _review("authentication", "Token", spec))
        user: Obj = get(review, "status.user") or {}
        if not get(review, "status.authenticated", default=False):
            return 401
        asked = {
            "user": user.get("username", ""),
            "groups": user.get("groups") or [],
            "uid": user.get("uid", ""),
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": path, "verb": "get"},
        }
        found = await self._client.create(
            SUBJECTACCESSREVIEWS, _review("authorization", "SubjectAccess", asked)
        )
        return 0 if get(found, "status.allowed", default=False) else 403


def _review(group: str, kind: str, spec: Obj) -> Obj:
    api_version = f"{group}.k8s.io/v1"
    return {"apiVersion": api_version, "kind": f"{kind}Review", "metadata": {}, "spec": spec}


def context_of(config: CloudControllerManagerConfig, now: datetime) -> ssl.SSLContext:
    """Return how the port proves itself: by the files given, else by a certificate of its own.

    Raises:
        StartError: the files are no good.

    """
    context = tls.server_context("VersionTLS12", ())
    if not config.tls_cert_file:
        tls.load_from_memory(context, _own_certificate(now))
        return context
    try:
        context.load_cert_chain(config.tls_cert_file, config.tls_private_key_file)
    except OSError as error:  # ssl.SSLError is one
        raise StartError(
            f"--tls-cert-file {config.tls_cert_file} and --tls-private-key-file cannot be used: "
            f"{error}"
        ) from error
    return context


def _own_certificate(now: datetime) -> bytes:
    """Return a certificate that vouches for itself, and its key, as text."""
    key = pki.new_key()
    name = pki.subject_name(pki.Subject(name=NAME))
    life = (now - pki.CLOCK_SKEW, now + pki.LEAF_LIFE)
    made = pki.builder(name, name, key.public_key(), life).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM) + b"\n" + pki.key_to_pem(key)


@contextlib.asynccontextmanager
async def serving(
    pages: Pages, address: str, port: int, context: ssl.SSLContext
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port.

    Raises:
        StartError: somebody else listens there.

    """
    http = web.Server(pages.handle)
    try:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(http, address, port, ssl=context)
    except OSError as error:
        raise StartError(
            f"cannot listen on {address}:{port}: {error.strerror or error}; "
            "stop what uses the port or pass --secure-port"
        ) from error
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        await http.shutdown(CLOSE_SECONDS)
