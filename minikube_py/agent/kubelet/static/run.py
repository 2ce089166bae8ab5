"""The static pods of a node: sources, workers and mirrors put together."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.pod_workers import PodWorkers
from minikube_py.agent.kubelet.static.mirror_pods import MirrorPods
from minikube_py.agent.kubelet.static.sources import Folder, Pods, Url
from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, restarting


@dataclass(frozen=True, kw_only=True)
class StaticConfig:
    """Where the manifests of a node's own pods are."""

    folder: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request for the URL."""


class StaticPods:
    """Starts and ends pods as their manifests come and go."""

    def __init__(
        self,
        workers: PodWorkers,
        mirrors: MirrorPods,
        refuse: Callable[[Obj], Failure | None],
    ) -> None:
        self._workers = workers
        self._mirrors = mirrors
        self._refuse = refuse
        self._pods: dict[str, Pods] = {}
        self._heard: dict[str, asyncio.Event] = {}

    def start(self, config: StaticConfig, node_name: str, nursery: Nursery, clock: Clock) -> None:
        """Follow the sources."""
        parts: dict[str, Callable[[], object]] = {}
        if config.folder is not None:
            folder = Folder(config.folder, node_name, partial(self.take, "file"))
            parts["file"] = folder.run
        if config.url:
            take = partial(self.take, "http")
            parts["http"] = Url(config.url, config.headers, node_name, take, clock).run
        for source, part in parts.items():
            self._heard[source] = asyncio.Event()
            name = f"static pods by {source}"
            nursery.start(name, restarting(name, part))  # type: ignore[arg-type]

    async def known(self) -> None:
        """Wait until every source has told once: before that, nothing may be called an orphan."""
        for heard in self._heard.values():
            await heard.wait()

    def take(self, source: str, pods: Pods) -> None:
        """Take the whole set of a source's pods."""
        before = self._pods.get(source, {})
        self._pods[source] = pods
        for uid in before.keys() - pods.keys():
            self._workers.remove(uid)
        for uid, pod in pods.items():
            if uid not in before:
                self._mirrors.want(pod)
                self._workers.update(pod, partial(self._refuse, pod))
        if source in self._heard:
            self._heard[source].set()
