"""What every pod worker of a node shares: the services that act for it and the node's facts."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.agent.cri.runtime import Runtime, RuntimeStatus
from minikube_py.agent.kubelet.assignments import Assignments
from minikube_py.agent.kubelet.backoff import Backoffs
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.config import Machine
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.dns import Resolver
from minikube_py.agent.kubelet.images import ImagePuller
from minikube_py.agent.kubelet.pod import Spec, reference
from minikube_py.agent.kubelet.probes import Probes
from minikube_py.agent.kubelet.references import References
from minikube_py.agent.kubelet.status_writer import StatusWriter
from minikube_py.agent.kubelet.tokens import Tokens
from minikube_py.agent.kubelet.user_namespaces import UserNamespaces
from minikube_py.agent.kubelet.volumes.claims import Claims
from minikube_py.agent.kubelet.volumes.images import ImageVolumes
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.api.object import Obj
from minikube_py.client.events import EventKind, Recorder
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.tallies import Tallies

STARTS_MAX = 8
"""Sandboxes and containers that are started at the same time. More of them start no faster on a
small machine, and starve what else runs on it."""


Isolate = Callable[[Obj, Callable[[], Awaitable[Sequence[str]]]], Awaitable[None]]
"""Takes a pod and what asks for its addresses; returns when its containers may start."""


async def no_isolation(pod: Obj, addresses: Callable[[], Awaitable[Sequence[str]]]) -> None:
    """Let a pod start at once."""


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """One node's kubelet, as its pod workers see it."""

    node_name: str
    client: Client
    clock: Clock
    recorder: Recorder
    runtime: Runtime
    images: ImagePuller
    probes: Probes
    references: References
    tokens: Tokens
    claims: Claims
    volumes: PodVolumes
    image_volumes: ImageVolumes
    statuses: StatusWriter
    assignments: Assignments
    cgroups: Cgroups
    machine: Machine
    logs: Path
    """Folder of all logs of pods."""
    cluster_dns: Sequence[str]
    cluster_domain: str
    allocatable: Mapping[str, str]
    host_ips: Sequence[str]
    resolver: Callable[[], Resolver]
    """What the node itself uses, read when it is asked for."""
    services: Callable[[], Iterable[Obj]]
    network_trouble: Callable[[], str]
    """Why pods cannot have a network now, "" where they can."""
    resize_refusal: Callable[[Obj], Failure | None]
    """Why a pod cannot have the resources that it asks for now, None where it can."""
    freed: Callable[[], None]
    """Called when a pod has given resources back that others may wait for."""
    crashes: Backoffs
    """Waits of containers that keep ending."""
    user_namespaces: UserNamespaces
    runtime_status: Callable[[], RuntimeStatus] = RuntimeStatus
    """What the runtime said of itself last."""
    isolate: Isolate = no_isolation
    """Called with a pod that has got a network, before its containers start."""
    handlers: dict[str, str] = field(default_factory=dict)
    """Runtime class -> handler, as the server last told of those that pods here have named."""
    tallies: Tallies = field(default_factory=Tallies)
    """What the kubelet counts of its work."""
    starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STARTS_MAX))

    def tell(self, pod: Obj, kind: EventKind, reason: str, message: str) -> None:
        """Record an event about a pod."""
        self.recorder.record(reference(pod), kind, reason, message)

    def tell_container(
        self, pod: Obj, spec: Spec, kind: EventKind, reason: str, message: str
    ) -> None:
        """Record an event about a container."""
        path = spec.field_path
        self.recorder.record(reference(pod), kind, reason, message, field_path=path)
