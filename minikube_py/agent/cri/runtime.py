"""Sandboxes and containers: the RuntimeService of CRI v1 as thin typed functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.agent.cri.connection import CALL_TIMEOUT_SECONDS, Connection

SERVICE = "runtime.v1.RuntimeService"
STOP_MARGIN_SECONDS = 60.0
"""How much longer than its grace period a StopContainer call may take."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A pod sandbox as listed; `ips` is known from its status only."""

    id: str
    name: str = ""
    namespace: str = ""
    uid: str = ""
    attempt: int = 0
    ready: bool = True
    created_at: int = 0
    """Nanoseconds since the epoch."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ips: tuple[str, ...] = ()
    host_network: bool = False

    @property
    def state(self) -> str:
        """`ready` or `notready`."""
        return "ready" if self.ready else "notready"


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container; times, exit code, reason, message and mounts are known from its status only."""

    id: str
    sandbox_id: str = ""
    name: str = ""
    attempt: int = 0
    state: str = "created"
    """created, running, exited or unknown."""
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Path inside -> path on the host."""
    log_path: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """LinuxContainerResources that the runtime reports."""
    recursive_read_only: frozenset[str] = frozenset()
    """Paths inside of the mounts that are read-only with all below them."""
    stop_signal: str = ""
    """By which the runtime ends it, where the runtime tells."""


@dataclass(frozen=True)
class Handler:
    """What one runtime handler can do."""

    recursive_read_only: bool = False
    user_namespaces: bool = False


@dataclass(frozen=True, kw_only=True)
class RuntimeStatus:
    """What the runtime says of itself."""

    conditions: Mapping[str, tuple[bool, str]] = field(default_factory=dict)
    """RuntimeReady and NetworkReady, each with a message where it is false."""
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    """By name; "" is the default one. Older runtimes do not tell."""
    supplemental_groups_policy: bool | None = None
    """None where the runtime does not tell of its features."""

    def can(self, handler: str) -> Handler:
        """Return what a handler can do; nothing where the runtime does not tell."""
        return self.handlers.get(handler, Handler())


@dataclass(frozen=True)
class ExecResult:
    """What a command inside a container gave."""

    exit_code: int
    stdout: bytes
    stderr: bytes


STATES = {
    "CONTAINER_CREATED": "created",
    "CONTAINER_RUNNING": "running",
    "CONTAINER_EXITED": "exited",
}


def _container(message: Mapping[str, Any]) -> Container:
    metadata = message.get("metadata") or {}
    return Container(
        id=message.get("id", ""),
        sandbox_id=message.get("pod_sandbox_id", ""),
        name=metadata.get("name", ""),
        attempt=metadata.get("attempt", 0),
        state=STATES.get(message.get("state", "CONTAINER_CREATED"), "unknown"),
        created_at=message.get("created_at", 0),
        started_at=message.get("started_at", 0),
        finished_at=message.get("finished_at", 0),
        exit_code=message.get("exit_code", 0),
        reason=message.get("reason", ""),
        message=message.get("message", ""),
        image=(message.get("image") or {}).get("image", ""),
        image_ref=message.get("image_ref", ""),
        labels=message.get("labels") or {},
        annotations=message.get("annotations") or {},
        mounts={m["container_path"]: m.get("host_path", "") for m in message.get("mounts") or ()},
        log_path=message.get("log_path", ""),
        resources=(message.get("resources") or {}).get("linux") or {},
        recursive_read_only=frozenset(
            m["container_path"] for m in message.get("mounts") or () if m.get("recursive_read_only")
        ),
        stop_signal=message.get("stop_signal", ""),
    )


def _sandbox(message: Mapping[str, Any]) -> Sandbox:
    metadata = message.get("metadata") or {}
    network = message.get("network") or {}
    more = [entry.get("ip", "") for entry in network.get("additional_ips") or ()]
    options = ((message.get("linux") or {}).get("namespaces") or {}).get("options") or {}
    return Sandbox(
        id=message.get("id", ""),
        name=metadata.get("name", ""),
        namespace=metadata.get("namespace", ""),
        uid=metadata.get("uid", ""),
        attempt=metadata.get("attempt", 0),
        ready=message.get("state", "SANDBOX_READY") == "SANDBOX_READY",
        created_at=message.get("created_at", 0),
        labels=message.get("labels") or {},
        annotations=message.get("annotations") or {},
        ips=tuple(ip for ip in [network.get("ip", ""), *more] if ip),
        host_network=options.get("network") == "NODE",
    )


def _runtime_status(answer: Mapping[str, Any]) -> RuntimeStatus:
    conditions = (answer.get("status") or {}).get("conditions") or ()
    features = answer.get("features")
    return RuntimeStatus(
        conditions={
            condition.get("type", ""): (
                condition.get("status", False),
                condition.get("message", "") or condition.get("reason", ""),
            )
            for condition in conditions
        },
        handlers={
            one.get("name", ""): _handler(one.get("features") or {})
            for one in answer.get("runtime_handlers") or ()
        },
        supplemental_groups_policy=(
            None if features is None else bool(features.get("supplemental_groups_policy"))
        ),
    )


def _handler(features: Mapping[str, Any]) -> Handler:
    return Handler(
        recursive_read_only=bool(features.get("recursive_read_only_mounts")),
        user_namespaces=bool(features.get("user_namespaces")),
    )


class Runtime:
    """The calls; every one raises a child of CriError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.removed: Callable[[str], None] = lambda _: None
        """Told of each sandbox that was removed."""

    async def _call(
        self,
        method: str,
        request: Mapping[str, Any],
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        return await self._connection.call(
            SERVICE, method, request, timeout_seconds=timeout_seconds
        )

    async def version(self) -> dict[str, Any]:
        """Return runtime_name, runtime_version and runtime_api_version."""
        return await self._call("Version", {"version": "v1"}, 10.0)

    async def status(self) -> RuntimeStatus:
        """Return what the runtime says of itself."""
        return _runtime_status(await self._call("Status", {}, 30.0))

    async def set_pod_cidr(self, cidr: str) -> None:
        """Tell the runtime the node's pod network."""
        config = {"network_config": {"pod_cidr": cidr}}
        await self._call("UpdateRuntimeConfig", {"runtime_config": config})

    async def run_sandbox(self, config: Mapping[str, Any], handler: str = "") -> str:
        """Create and start a sandbox; return its id."""
        request = {"config": config, "runtime_handler": handler}
        answer = await self._call("RunPodSandbox", request, 2 * CALL_TIMEOUT_SECONDS)
        return str(answer["pod_sandbox_id"])

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox with all that runs in it and free its network; may be repeated."""
        await self._call("StopPodSandbox", {"pod_sandbox_id": sandbox_id})

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox and its containers; may be repeated."""
        await self._call("RemovePodSandbox", {"pod_sandbox_id": sandbox_id})
        self.removed(sandbox_id)

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        """Return one sandbox with its addresses."""
        answer = await self._call("PodSandboxStatus", {"pod_sandbox_id": sandbox_id})
        return _sandbox(answer["status"])

    async def list_sandboxes(self, labels: Mapping[str, str]) -> list[Sandbox]:
        """Return the sandboxes with those labels."""
        answer = await self._call("ListPodSandbox", {"filter": {"label_selector": labels}})
        return [_sandbox(item) for item in answer.get("items") or ()]

    async def create_container(
        self, sandbox_id: str, config: Mapping[str, Any], sandbox_config: Mapping[str, Any]
    ) -> str:
        """Create a container; return its id."""
        request = {
            "pod_sandbox_id": sandbox_id,
            "config": config,
            "sandbox_config": sandbox_config,
        }
        return str((await self._call("CreateContainer", request))["container_id"])

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        await self._call("StartContainer", {"container_id": container_id})

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """Send TERM, and KILL after the grace period; returns when it is dead."""
        request = {"container_id": container_id, "timeout": grace_seconds}
        await self._call("StopContainer", request, grace_seconds + STOP_MARGIN_SECONDS)

    async def remove_container(self, container_id: str) -> None:
        """Remove a container, by force where it runs; may be repeated."""
        await self._call("RemoveContainer", {"container_id": container_id})

    async def list_containers(self, labels: Mapping[str, str]) -> list[Container]:
        """Return the containers with those labels."""
        answer = await self._call("ListContainers", {"filter": {"label_selector": labels}})
        return [_container(item) for item in answer.get("containers") or ()]

    async def container_status(self, container_id: str) -> Container:
        """Return all that is known of a container; its sandbox_id is empty."""
        answer = await self._call("ContainerStatus", {"container_id": container_id})
        return _container(answer["status"])

    async def container_info(self, container_id: str) -> Mapping[str, str]:
        """Return the runtime's own words on a container; containerd: `info` is JSON with `pid`."""
        request = {"container_id": container_id, "verbose": True}
        answer = await self._call("ContainerStatus", request)
        return answer.get("info") or {}

    async def update_resources(self, container_id: str, resources: Mapping[str, Any]) -> None:
        """Change the limits of a running container."""
        request = {"container_id": container_id, "linux": resources}
        await self._call("UpdateContainerResources", request)

    async def reopen_log(self, container_id: str) -> None:
        """Make the runtime open the log file anew, after it was moved away."""
        await self._call("ReopenContainerLog", {"container_id": container_id})

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: int
    ) -> ExecResult:
        """Run a command and wait; raises CriTimeoutError after `timeout_seconds` (0: never)."""
        request = {"container_id": container_id, "cmd": command, "timeout": timeout_seconds}
        limit = timeout_seconds + 10.0 if timeout_seconds else 3600.0
        answer = await self._call("ExecSync", request, limit)
        return ExecResult(
            answer.get("exit_code", 0), answer.get("stdout", b""), answer.get("stderr", b"")
        )

    async def exec_url(self, request: Mapping[str, Any]) -> str:
        """Prepare a streamed command (ExecRequest); return the URL to open, good for one use."""
        return str((await self._call("Exec", request))["url"])

    async def attach_url(self, request: Mapping[str, Any]) -> str:
        """Prepare an attachment (AttachRequest); return the URL to open, good for one use."""
        return str((await self._call("Attach", request))["url"])

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        """Prepare a port-forward; return the URL to open, good for one use."""
        request = {"pod_sandbox_id": sandbox_id, "port": list(ports)}
        return str((await self._call("PortForward", request))["url"])

    async def container_stats(self, labels: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        """Return ContainerStats messages of the containers with those labels."""
        request = {"filter": {"label_selector": labels}}
        return (await self._call("ListContainerStats", request)).get("stats") or ()
