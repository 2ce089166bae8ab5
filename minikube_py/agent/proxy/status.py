"""What kube-proxy tells of itself to this machine alone: mode, health and metrics (port 10249)."""

import asyncio
import logging
import time
from collections.abc import Iterator

from aiohttp import web

from minikube_py.agent.proxy.health import listening
from minikube_py.lib.prometheus import CONTENT_TYPE, Histogram, histograms, metric

log = logging.getLogger(__name__)
ADDRESS, PORT = "127.0.0.1", 10249
"""The defaults of upstream's `--metrics-bind-address`."""
SECONDS = tuple(0.001 * 2**power for power in range(15))


class Status:
    """Counts what the proxy does, and serves it."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._seconds = Histogram(SECONDS)
        self._changes = {"service": 0, "endpoint": 0}
        self._queued = self._synced = 0.0

    def queued(self, kind: str) -> None:
        """Count a change of a `service` or an `endpoint` slice."""
        self._changes[kind] += 1
        self._queued = time.time()

    def synced(self, seconds: float) -> None:
        """Note that rules were brought to the kernel, and how long that took."""
        self._seconds.observe(seconds)
        self._synced = time.time()

    def lines(self) -> Iterator[str]:
        """Yield the page of metrics, under upstream's names."""
        prefix = "kubeproxy_sync_proxy_rules"
        yield from histograms(
            f"{prefix}_duration_seconds",
            "SyncProxyRules latency in seconds",
            [({}, self._seconds)],
        )
        for what, at in (("last_timestamp", self._synced), ("last_queued_timestamp", self._queued)):
            meaning = "Unix time of the last sync, or of the last change that asked for one"
            yield from metric(f"{prefix}_{what}_seconds", "gauge", meaning, [({}, at)])
        for kind, count in self._changes.items():
            name = f"{prefix}_{kind}_changes_total"
            yield from metric(name, "counter", f"Changes of {kind}s", [({}, count)])

    def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if request.path == "/metrics":
            page = "".join(f"{line}\n" for line in self.lines())
            return web.Response(body=page.encode(), headers={"Content-Type": CONTENT_TYPE})
        texts = {"/proxyMode": self._mode, "/healthz": "ok"}
        text = texts.get(request.path)
        if text is None:
            return web.Response(status=404, text="404 page not found\n")
        return web.Response(text=text, headers={"X-Content-Type-Options": "nosniff"})

    async def serve(self, port: int = PORT) -> None:
        """Serve until it is cancelled; where the port is taken, nobody is served."""
        try:
            async with listening(self.answer, port, ADDRESS):
                await asyncio.get_running_loop().create_future()
        except OSError as error:
            log.warning("kube-proxy's status not served port=%d error=%s", port, error.strerror)
            await asyncio.get_running_loop().create_future()
