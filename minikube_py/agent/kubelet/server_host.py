"""What the kubelet's server asks of the kubelet and of the runtime, and finds by it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aiohttp import web

from minikube_py.agent.cri.runtime import Container, ExecResult, Sandbox
from minikube_py.agent.kubelet.static.manifest import mirror_hash
from minikube_py.api.errors import InternalError, NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, uid_of

UID_LABEL = "io.kubernetes.pod.uid"
NAME_LABEL = "io.kubernetes.container.name"
Handler = Callable[[web.BaseRequest, Sequence[str]], Awaitable[web.StreamResponse]]
"""Gets the request and the parts of its path after the first."""


class Runtime(Protocol):
    """What the server asks of the container runtime; see agent/cri/runtime.py."""

    async def list_containers(self, labels: Mapping[str, str]) -> list[Container]:
        """Return the containers with those labels."""

    async def list_sandboxes(self, labels: Mapping[str, str]) -> list[Sandbox]:
        """Return the sandboxes with those labels."""

    async def container_status(self, container_id: str) -> Container:
        """Return all that is known of a container."""

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: int
    ) -> ExecResult:
        """Run a command and wait."""

    async def exec_url(self, request: Mapping[str, Any]) -> str:
        """Prepare a streamed command."""

    async def attach_url(self, request: Mapping[str, Any]) -> str:
        """Prepare an attachment."""

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        """Prepare a port-forward."""


class Pods(Protocol):
    """The pods of this node."""

    def get(self, key: Key) -> Obj | None:
        """Return one pod, or None."""

    def items(self) -> Iterable[Item]:
        """Return all pods."""


def node_uid(pod: Obj) -> str:
    """Return the uid that the node knows a pod by: a mirror stands for a static pod."""
    return mirror_hash(pod) or uid_of(pod)


class Target(NamedTuple):
    """The container that a path names."""

    pod: Obj
    container: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the runtime knows it by."""
        return {UID_LABEL: node_uid(self.pod), NAME_LABEL: self.container}


class Host(NamedTuple):
    """The pods and the runtime of this node."""

    runtime: Runtime
    pods: Pods

    def pod(self, namespace: str, name: str, uid: str = "") -> Obj:
        """Return a pod of this node; raise NotFoundError where it is none."""
        pod = self.pods.get(Key(namespace, name))
        if pod is None:
            raise NotFoundError("pod does not exist")
        if uid and uid not in (uid_of(pod), node_uid(pod)):
            raise NotFoundError("pod not found")
        return pod

    def target(self, rest: Sequence[str]) -> Target:
        """Return what `namespace/pod[/uid]/container` names."""
        if len(rest) not in (3, 4):
            raise NotFoundError("404 page not found")
        return Target(self.pod(rest[0], rest[1], rest[2] if len(rest) == 4 else ""), rest[-1])

    async def running_container(self, target: Target) -> Container:
        """Return the container that runs; raise InternalError where none does."""
        containers = await self.runtime.list_containers(target.labels)
        running = [c for c in containers if c.state == "running"]
        if not running:
            raise InternalError(f'container not found ("{target.container}")')
        return max(running, key=lambda c: c.created_at)
