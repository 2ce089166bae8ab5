"""Extenders: programs elsewhere that are asked over HTTP about nodes, scores, victims and bindings.

An extender is asked about pods that use one of its resources, or about all where it names none. It
sees the nodes that all filters have left. One that is ignorable may be away; without any other the
pod is tried again later. The protocol is upstream's k8s.io/kube-scheduler/extender/v1.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from minikube_py.api.object import Obj, get
from minikube_py.server.scheduler.algorithm import Fit
from minikube_py.server.scheduler.candidate import Candidate
from minikube_py.server.scheduler.framework import Cycle, Rejected, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.queue import EXTENDER

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 5.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
PRIORITY_MAX = 10
SCALE = 100 // PRIORITY_MAX
"""Scores of extenders go up to 10, those of plugins to 100."""
OK = 200


class ExtenderError(Exception):
    """An extender could not be asked, or answered nonsense."""


@dataclass(frozen=True, kw_only=True)
class ExtenderConfig:
    """One entry of `extenders` in a KubeSchedulerConfiguration."""

    url: str
    verbs: Mapping[str, str] = field(default_factory=dict)
    """Path below the URL, of filter, prioritize, bind and preempt; others are not asked."""
    weight: int = 1
    timeout_seconds: float = TIMEOUT_SECONDS
    context: ssl.SSLContext | None = field(default=None, repr=False)
    node_cache_capable: bool = False
    """It knows the nodes: it is sent names only."""
    managed: frozenset[str] = frozenset()
    unchecked: tuple[str, ...] = ()
    """Resources of those that NodeResourcesFit is not to look at."""
    ignorable: bool = False


class Extender:
    """One extender; holds its connections."""

    def __init__(self, config: ExtenderConfig) -> None:
        self.config = config
        self._session: aiohttp.ClientSession | None = None

    def concerns(self, pod: PodInfo) -> bool:
        """Tell whether the extender is to be asked about a pod."""
        managed = self.config.managed
        if not managed:
            return True
        containers = (
            *get(pod.obj, "spec.containers", ()),
            *get(pod.obj, "spec.initContainers", ()),
        )
        return any(
            name in managed
            for container in containers
            for kind in ("requests", "limits")
            for name in get(container, ("resources", kind), ())
        )

    def does(self, verb: str) -> bool:
        """Tell whether the extender has a verb."""
        return bool(self.config.verbs.get(verb))

    async def filter(
        self, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> Mapping[str, Rejected | None]:
        """Return for each node why the extender rules it out, or None.

        Raises:
            ExtenderError: there is no usable answer.

        """
        answer = await self._ask("filter", self._args(pod, nodes))
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))
        known = {node.name for node in nodes}
        found: dict[str, Rejected | None] = {}
        for key, final in (("failedNodes", False), ("failedAndUnresolvableNodes", True)):
            for name, text in (answer.get(key) or {}).items():
                found[name] = Rejected(EXTENDER, rejection(str(text), final=final))
        for name in self._kept(answer):
            if name not in known:
                raise ExtenderError(
                    f'extender "{self.config.url}" claims a filtered node "{name}" '
                    "which is not found in the input node list"
                )
            found[name] = None
        return found

    def _kept(self, answer: Obj) -> Sequence[str]:
        if self.config.node_cache_capable and answer.get("nodenames") is not None:
            return [str(name) for name in answer["nodenames"]]
        return [get(one, "metadata.name", "") for one in get(answer, "nodes.items", ())]

    async def prioritize(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Mapping[str, float]:
        """Return what the extender adds to the score of each node; raises ExtenderError."""
        answer = await self._ask("prioritize", self._args(pod, nodes))
        scale = self.config.weight * SCALE
        try:
            return {str(one["host"]): float(one.get("score", 0)) * scale for one in answer or ()}
        except (TypeError, KeyError, ValueError) as error:
            raise ExtenderError(f'extender "{self.config.url}" returned no priorities') from error

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Have the extender bind a pod; raises ExtenderError."""
        args = {
            "podName": pod.key.name,
            "podNamespace": pod.namespace,
            "podUID": pod.uid,
            "node": node,
        }
        answer = await self._ask("bind", args)
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))

    async def preempt(self, cycle: Cycle, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return those candidates that the extender leaves, with its victims."""
        meta = {
            one.node: {
                "pods": [{"uid": pod.uid} for pod in one.victims],
                "numPDBViolations": one.violations,
            }
            for one in candidates
        }
        whole = {
            one.node: {
                "pods": [pod.obj for pod in one.victims],
                "numPDBViolations": one.violations,
            }
            for one in candidates
        }
        short = self.config.node_cache_capable
        named = {"nodeNameToMetaVictims": meta} if short else {"nodeNameToVictims": whole}
        answer = await self._ask("preempt", {"pod": cycle.pod.obj, **named})
        return [
            self._candidate(cycle, name, victims)
            for name, victims in (answer.get("nodeNameToMetaVictims") or {}).items()
            if not (self.config.ignorable and not (victims or {}).get("pods"))
        ]

    def _candidate(self, cycle: Cycle, name: str, victims: Obj | None) -> Candidate:
        node = cycle.cache.nodes.get(name)
        listed = (victims or {}).get("pods") or ()
        if node is None or not listed:
            raise ExtenderError(f'expected at least one victim pod on node "{name}"')
        pods = [node.pods.get(one.get("uid", "")) for one in listed]
        there = [pod for pod in pods if pod is not None]
        if len(there) < len(pods):
            raise ExtenderError(
                f"extender: {self.config.url} claims to preempt a pod on node: {name}, "
                "but the pod is not found on that node"
            )
        return Candidate(name, there, int((victims or {}).get("numPDBViolations") or 0))

    def _args(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Obj:
        if self.config.node_cache_capable:
            return {"pod": pod.obj, "nodes": None, "nodenames": [node.name for node in nodes]}
        listed = {"metadata": {}, "items": [node.node for node in nodes]}
        return {"pod": pod.obj, "nodes": listed, "nodenames": None}

    async def _ask(self, verb: str, args: Obj) -> Any:
        url = f"{self.config.url.rstrip('/')}/{self.config.verbs[verb]}"
        import aiohttp  # noqa: PLC0415 -- most schedulers have no extender

        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                status, data = await self._post(url, orjson.dumps(args))
            if status != OK:
                raise ExtenderError(
                    f"failed {self.config.verbs[verb]} with extender at URL {url}, code {status}"
                )
            return orjson.loads(data)
        except TimeoutError as error:
            raise ExtenderError(f'Post "{url}": context deadline exceeded') from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ExtenderError(f'Post "{url}": {error}') from error

    async def _post(self, url: str, data: bytes) -> tuple[int, bytes]:
        import aiohttp  # noqa: PLC0415 -- most schedulers have no extender

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(), cookie_jar=aiohttp.DummyCookieJar()
            )
        headers = {"Content-Type": "application/json"}
        async with self._session.post(
            url,
            data=data,
            headers=headers,
            ssl=self.config.context if self.config.context is not None else True,
            allow_redirects=False,
        ) as answer:
            parts = []
            size = 0
            async for part in answer.content.iter_any():
                size += len(part)
                if size > ANSWER_BYTES_MAX:
                    raise ExtenderError(f'Post "{url}": the answer is too large')
                parts.append(part)
            return answer.status, b"".join(parts)

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()


class Extenders:
    """All extenders of a scheduler, asked in turn."""

    def __init__(self, configs: Sequence[ExtenderConfig]) -> None:
        self.all = tuple(Extender(config) for config in configs)

    def __bool__(self) -> bool:
        return bool(self.all)

    def concern(self, pod: PodInfo) -> bool:
        """Tell whether any of them has a say in where a pod goes."""
        return any(
            one.concerns(pod) and (one.does("filter") or one.does("prioritize")) for one in self.all
        )

    async def filter(self, pod: PodInfo, fit: Fit) -> None:
        """Take the nodes out of a fit that extenders rule out; raises ExtenderError."""
        for one in self.all:
            if not fit.nodes or not one.does("filter") or not one.concerns(pod):
                continue
            try:
                said = await one.filter(pod, fit.nodes)
            except ExtenderError as error:
                if not one.config.ignorable:
                    raise
                log.info("extender skipped url=%s error=%s", one.config.url, error)
                continue
            left = []
            for node in fit.nodes:
                why = said.get(node.name, _UNMENTIONED)
                if why is None:
                    left.append(node)
                else:
                    fit.rejected[node.name] = why
            fit.nodes = left

    async def scores(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Mapping[str, float]:
        """Return what all extenders add to the scores; one that fails adds nothing."""
        totals: dict[str, float] = {}
        for one in self.all:
            if not one.does("prioritize") or not one.concerns(pod):
                continue
            try:
                said = await one.prioritize(pod, nodes)
            except ExtenderError as error:
                log.info("extender gave no scores url=%s error=%s", one.config.url, error)
                continue
            for name, score in said.items():
                totals[name] = totals.get(name, 0.0) + score
        return totals

    async def preempt(self, cycle: Cycle, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Let extenders narrow candidates down; raises ExtenderError."""
        left = candidates
        for one in self.all:
            if not left or not one.does("preempt") or not one.concerns(cycle.pod):
                continue
            try:
                left = await one.preempt(cycle, left)
            except ExtenderError as error:
                if not one.config.ignorable:
                    raise
                log.info("extender skipped url=%s error=%s", one.config.url, error)
        return left

    def binder(self, pod: PodInfo) -> Extender | None:
        """Return the extender that binds a pod, if one does."""
        return next((one for one in self.all if one.does("bind") and one.concerns(pod)), None)

    async def close(self) -> None:
        """End all connections."""
        for one in self.all:
            await one.close()


_UNMENTIONED = Rejected(EXTENDER, rejection("node(s) were ruled out by an extender"))
