"""The kubelet's measurements over HTTP: /stats/summary, /metrics and the pages below it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import hdrs, web

from minikube_py.agent.kubelet.server_host import Handler
from minikube_py.agent.kubelet.stats import cadvisor, resource_metrics, summary, volume_metrics
from minikube_py.agent.kubelet.stats.cadvisor import Machine
from minikube_py.agent.kubelet.stats.provider import Provider
from minikube_py.api.errors import NotFoundError
from minikube_py.lib import process
from minikube_py.lib.prometheus import CONTENT_TYPE, metric

Lines = Callable[[], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class StatsPages:
    """Answers; what is measured is measured when somebody asks."""

    provider: Provider
    machine: Machine
    node_name: str
    probes: Lines
    ingress: Lines
    counts: Lines
    """What the kubelet counts of its work."""
    configuration: Callable[[], dict[str, Any]]
    """The document of /configz."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return what answers, by the first part of the path."""
        return {
            "stats": self._stats,
            "metrics": self._metrics,
            "configz": self._configz,
            "checkpoint": _checkpoint,
        }

    async def _stats(self, request: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        if list(rest) not in ([], ["summary"]):
            raise NotFoundError("404 page not found")
        short = request.query.get("only_cpu_and_memory", "") == "true"
        measured = await self.provider.measured(with_disks=not short)
        document = summary.summary(measured)
        if short:
            document = summary.only_cpu_and_memory(document)
        return _json(document)

    async def _metrics(self, _: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        page = rest[0] if len(rest) == 1 else "/".join(rest)
        if page == "resource":
            return _page(resource_metrics.lines(await self.provider.sample()))
        if page == "cadvisor":
            return _page(cadvisor.lines(await self.provider.sample(), self.machine))
        if page in {"probes", "ingress"}:
            return _page(self.probes() if page == "probes" else self.ingress())
        if page == "":
            claims = await self.provider.claims()
            return _page([*self._own(), *volume_metrics.lines(claims)])
        raise NotFoundError("404 page not found")

    def _own(self) -> Iterator[str]:
        """Yield what the kubelet counts of itself."""
        pods, containers = self.provider.running()
        yield from metric(
            "kubelet_node_name",
            "gauge",
            "[ALPHA] The node's name. The count is always 1.",
            [({"node": self.node_name}, 1)],
        )
        yield from metric(
            "kubelet_running_containers",
            "gauge",
            "[ALPHA] Number of containers currently running",
            [({"container_state": "running"}, containers)],
        )
        yield from metric(
            "kubelet_running_pods",
            "gauge",
            "[ALPHA] Number of pods that have a running pod sandbox",
            [({}, pods)],
        )
        yield from self.counts()
        yield from process.lines()

    async def _configz(self, _: web.BaseRequest, __: Sequence[str]) -> web.StreamResponse:
        return _json({"kubeletconfig": self.configuration()})


async def _checkpoint(_: web.BaseRequest, __: Sequence[str]) -> web.StreamResponse:
    return web.Response(
        status=501,
        text="checkpoint not implemented: the container runtime has no CheckpointContainer",
    )


def _page(lines: Iterable[str]) -> web.Response:
    text = "\n".join([*lines, ""])
    return web.Response(body=text.encode(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


def _json(document: dict[str, Any]) -> web.Response:
    data = orjson.dumps(document)
    return web.Response(body=data, headers={hdrs.CONTENT_TYPE: "application/json"})
