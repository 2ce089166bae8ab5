"""Serves the ingresses of class `kpy` on this node, while there are any.

Rules, certificates and endpoints are looked at anew when something changes; what is under way goes
on undisturbed, because only the table that new requests are looked up in is replaced. A node reads
just the secrets that ingresses name, with its own rights (authz/node.py).
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from minikube_py.agent.ingress.backends import Backends
from minikube_py.agent.ingress.certificates import Certificates
from minikube_py.agent.ingress.metrics import Counts
from minikube_py.agent.ingress.proxy import IngressProxy
from minikube_py.agent.ingress.routes import EMPTY, Table, table_of
from minikube_py.agent.kubelet.references import Ref, References, ReferencesTimeoutError
from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.slices import add_service_index, slices_of
from minikube_py.api.core import SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.networking import INGRESSCLASSES, INGRESSES
from minikube_py.api.networking.ingress_ours import HTTP_PORT, HTTPS_PORT, is_ours
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
SETTLE_SECONDS = 0.05
"""Changes that follow each other so closely are taken together."""
KEEPALIVE_SECONDS = 75.0
HEAD_BYTES_MAX = 32 << 10
"""Of a request line or of one header."""
STOP_SECONDS = 2.0
BACKLOG = 1024
HOLDER = "ingress"


@dataclass(frozen=True, kw_only=True)
class IngressSettings:
    """What the ingress of a node is told."""

    node_name: str
    address: str = ""
    """Where to listen; "" for all addresses of both families."""
    http_port: int = HTTP_PORT
    https_port: int = HTTPS_PORT


class Ingress:
    """What one node serves."""

    def __init__(
        self, settings: IngressSettings, informers: Informers, counts: Counts, clock: Clock
    ) -> None:
        self._settings = settings
        self._ingresses = informers.get(INGRESSES)
        self._classes = informers.get(INGRESSCLASSES)
        self._certificates = Certificates(clock.now())
        slices = informers.get(ENDPOINTSLICES)
        add_service_index(slices)
        self._proxy = IngressProxy(
            Backends(
                informers.get(SERVICES).get,
                lambda key: slices_of(slices, key),
                Node(name=settings.node_name),
            ),
            counts,
            clock.monotonic,
        )
        self.changed = asyncio.Event()

    def notice(self, _old: Item | None, _new: Item | None) -> None:
        """Note that something changed."""
        self.changed.set()

    def table(self) -> Table:
        """Return the routes of the ingresses that are ours."""
        all_of_them = (item.obj for item in self._ingresses.items())
        return table_of(one for one in all_of_them if is_ours(one, self._classes.get))

    async def serve(self, table: Table, references: References) -> None:
        """Serve for as long as there is an ingress of ours."""
        async with self._listening():
            while table != EMPTY:
                self._proxy.table = table
                refs = frozenset(Ref("secrets", *secret) for secret in table.secrets)
                try:
                    await references.hold(HOLDER, refs)
                except ReferencesTimeoutError as error:
                    log.warning("certificates not all known error=%s", error)
                self._certificates.set(table, lambda *at: references.get(Ref("secrets", *at)))
                await self.changed.wait()
                await asyncio.sleep(SETTLE_SECONDS)
                self.changed.clear()
                table = self.table()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Listen for the length of the block; raises OSError where a port is taken."""
        server = web.Server(
            self._proxy.handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            auto_decompress=False,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )
        runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        try:
            ports: tuple[tuple[int, ssl.SSLContext | None], ...] = (
                (self._settings.http_port, None),
                (self._settings.https_port, self._certificates.server),
            )
            for port, context in ports:
                made = _socket(self._settings.address, port)
                await web.SockSite(runner, made, ssl_context=context, backlog=BACKLOG).start()
            log.info("ingress listens http=%d https=%d", ports[0][0], ports[1][0])
            yield
        finally:
            await runner.cleanup()
            await self._proxy.close()


def _socket(address: str, port: int) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server((address or "0.0.0.0", port))


async def run_ingress(
    informers: Informers, client: Client, settings: IngressSettings, counts: Counts, clock: Clock
) -> None:
    """Serve ingresses until cancelled; `client` has the node's own rights, for secrets.

    Raises:
        OSError: a port cannot be listened on; the caller starts this again.

    """
    kinds = (INGRESSES, INGRESSCLASSES, SERVICES, ENDPOINTSLICES)
    await informers.synced(kinds)
    ingress = Ingress(settings, informers, counts, clock)
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(Nursery("ingress"))
        references = References(client, clock, nursery, lambda _: ingress.changed.set())
        for kind in (INGRESSES, INGRESSCLASSES):
            stack.callback(informers.get(kind).subscribe(ingress.notice))
        while True:
            ingress.changed.clear()
            table = ingress.table()
            if table != EMPTY:
                await ingress.serve(table, references)
                references.release(HOLDER)
            else:
                await ingress.changed.wait()
