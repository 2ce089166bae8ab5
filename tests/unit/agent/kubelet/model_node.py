"""A node in memory: a runtime that follows scripts, and a kubelet's pod workers on top of it.

Containers run until their script ends them; images are all there; volumes are names. Everything
happens in virtual time against the model cluster.
"""

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.errors import CriError, CriNotFoundError
from minikube_py.agent.cri.images import Image
from minikube_py.agent.cri.runtime import Container, ExecResult, Sandbox
from minikube_py.agent.kubelet.allocation import refusal
from minikube_py.agent.kubelet.assignments import NO_TOPOLOGY, Assignments, TopologySettings
from minikube_py.agent.kubelet.backoff import Backoffs
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.config import Machine
from minikube_py.agent.kubelet.dns import Resolver
from minikube_py.agent.kubelet.images import ImagePuller
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.node_plugins import NodePlugins
from minikube_py.agent.kubelet.pod_workers import PodWorkers
from minikube_py.agent.kubelet.probes import Probes
from minikube_py.agent.kubelet.references import References
from minikube_py.agent.kubelet.status_writer import StatusWriter
from minikube_py.agent.kubelet.tokens import Tokens
from minikube_py.agent.kubelet.user_namespaces import UserNamespaces
from minikube_py.agent.kubelet.volumes.claims import Claims
from minikube_py.agent.kubelet.volumes.payload import Sources
from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.events import Recorder
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.unit.agent.kubelet.strategic import StrategicClient
from tests.virtual_time import VirtualClock

START_SECONDS = 0.1
ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "pods": "110"}


@dataclass(frozen=True)
class Script:
    """How a run of a container goes: it ends after so long with a code, or goes on (None)."""

    code: int | None = None
    seconds: float = 0.0
    ignores_term: bool = False


class ModelRuntime:
    """Sandboxes and containers in dictionaries; `scripts` says how each next run goes."""

    def __init__(self, clock: VirtualClock, nursery: Nursery) -> None:
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self.scripts: dict[str, list[Script]] = {}
        self.images = {"busybox:1"}
        self.log: list[str] = []
        """What was asked of the runtime, in words."""
        self.failures: dict[str, str] = {}
        """Name of a call -> message with which it fails."""
        self.handlers: list[str] = []
        self.wake: Any = lambda _uid: None
        self._clock = clock
        self._nursery = nursery
        self.limits: dict[str, Mapping[str, Any]] = {}
        """The limits of containers, by id."""
        self.memory_used: dict[str, int] = {}
        """Bytes, by name of container."""
        self._numbers = itertools.count(1)
        self._stubborn: set[str] = set()

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)

    def _enter(self, call: str, what: str) -> None:
        self.log.append(f"{call} {what}".strip())
        if call in self.failures:
            raise CriError(self.failures[call])

    # --- what kubelets ask ---

    async def list_sandboxes(self, labels: Mapping[str, str]) -> list[Sandbox]:
        return [replace(s, ips=()) for s in self.sandboxes.values() if _has(s.labels, labels)]

    async def list_containers(self, labels: Mapping[str, str]) -> list[Container]:
        return [c for c in self.containers.values() if _has(c.labels, labels)]

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        return self._found(self.sandboxes, sandbox_id)

    async def container_status(self, container_id: str) -> Container:
        return replace(self._found(self.containers, container_id), sandbox_id="")

    @staticmethod
    def _found(things: dict[str, Any], key: str) -> Any:
        if key not in things:
            raise CriNotFoundError(f"{key} not found")
        return things[key]

    async def run_sandbox(self, config: Mapping[str, Any], handler: str = "") -> str:
        self._enter("run_sandbox", str(config["metadata"]["attempt"]))
        self.handlers.append(handler)
        await asyncio.sleep(START_SECONDS)
        number = next(self._numbers)
        options = config["linux"]["security_context"]["namespace_options"]
        on_node = options["network"] == "NODE"
        self.sandboxes[f"s{number}"] = Sandbox(
            id=f"s{number}",
            name=config["metadata"]["name"],
            namespace=config["metadata"]["namespace"],
            uid=config["metadata"]["uid"],
            attempt=config["metadata"]["attempt"],
            created_at=self._now(),
            labels=config["labels"],
            ips=() if on_node else (f"10.0.0.{number}",),
            host_network=on_node,
        )
        return f"s{number}"

    async def create_container(
        self, sandbox_id: str, config: Mapping[str, Any], sandbox: Mapping[str, Any]
    ) -> str:
        name = config["metadata"]["name"]
        self._enter("create", name)
        key = f"{name}-{next(self._numbers)}"
        self.containers[key] = Container(
            id=key,
            sandbox_id=sandbox_id,
            name=name,
            attempt=config["metadata"]["attempt"],
            created_at=self._now(),
            image=config["image"]["image"],
            image_ref="sha256:1",
            labels=config["labels"],
            annotations=config["annotations"],
        )
        self.limits[key] = config["linux"]["resources"]
        log = Path(sandbox.get("log_directory", "")) / config.get("log_path", "")
        if log.parent.is_dir():
            log.touch()
        return key

    async def start_container(self, container_id: str) -> None:
        one = self.containers[container_id]
        self._enter("start", one.name)
        await asyncio.sleep(START_SECONDS)
        self.containers[container_id] = replace(one, state="running", started_at=self._now())
        script = (self.scripts.get(one.name) or [Script()]).pop(0)
        if script.ignores_term:
            self._stubborn.add(container_id)
        if script.code is not None:
            self._nursery.start("script", self._play(container_id, script))

    async def _play(self, container_id: str, script: Script) -> None:
        await asyncio.sleep(script.seconds)
        self.end(container_id, script.code or 0)

    def end(self, container_id: str, code: int) -> None:
        """End a container, and tell whoever listens."""
        one = self.containers.get(container_id)
        if one is None or one.state != "running":
            return
        self.containers[container_id] = replace(
            one,
            state="exited",
            exit_code=code,
            reason="Error" if code else "Completed",
            finished_at=self._now(),
        )
        self.wake(one.labels["io.kubernetes.pod.uid"])

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        one = self._found(self.containers, container_id)
        self._enter("stop", f"{one.name} {grace_seconds}")
        if container_id in self._stubborn:
            await asyncio.sleep(grace_seconds)
        self.end(container_id, 137 if container_id in self._stubborn else 143)

    async def update_resources(self, container_id: str, resources: Mapping[str, Any]) -> None:
        self._enter("update", self.containers[container_id].name)
        self.limits[container_id] = resources

    async def container_stats(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {
                "attributes": {"id": one.id},
                "memory": {"usage_bytes": {"value": self.memory_used.get(one.name, 0)}},
            }
            for one in await self.list_containers(labels)
        ]

    async def container_info(self, container_id: str) -> dict[str, str]:
        return {"info": f'{{"pid": {container_id.rpartition("-")[2]}}}'}

    async def remove_container(self, container_id: str) -> None:
        self.log.append(f"remove {container_id}")
        self.containers.pop(container_id, None)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self._enter("stop_sandbox", "")
        self.sandboxes[sandbox_id] = replace(self.sandboxes[sandbox_id], ready=False, ips=())
        for key, one in self.containers.items():
            if one.sandbox_id == sandbox_id:
                self.end(key, 137)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self._enter("remove_sandbox", "")
        self.sandboxes.pop(sandbox_id, None)
        held = [key for key, one in self.containers.items() if one.sandbox_id == sandbox_id]
        for key in held:
            del self.containers[key]

    async def exec_sync(self, container_id: str, command: Sequence[str], _: int) -> ExecResult:
        self._enter("exec", " ".join(command))
        if command[0] == "sleep":
            await asyncio.sleep(float(command[1]))
        return ExecResult(1 if command[0] == "false" else 0, b"", b"")

    # --- images ---

    async def status(self, image: str) -> Image | None:
        return Image(id=image, uid=0) if image in self.images else None

    async def pull(self, image: str, *_: Any) -> str:
        self._enter("pull", image)
        await asyncio.sleep(5)
        raise CriError(f"{image}: not found")


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


class ModelVolumes:
    """Volumes that are nothing but names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.torn_down: list[str] = []

    def pod_folder(self, uid: str) -> Path:
        return self._folder / uid

    def prepare(self, uid: str) -> Path:
        self.pod_folder(uid).mkdir(exist_ok=True)
        return self.pod_folder(uid)

    async def keep(self, uid: str, name: str, data: bytes) -> None:
        (self.prepare(uid) / name).write_bytes(data)

    async def set_up(self, pod: Obj, _: Sources) -> Mapping[str, Path]:
        return {volume["name"]: self._folder for volume in get(pod, "spec.volumes") or ()}

    def due(self, _uid: str) -> float | None:
        return None

    async def remove_folder(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    async def tear_down(self, uid: str) -> bool:
        self.torn_down.append(uid)
        return True


class ModelImageVolumes:
    """Images that are shown nowhere."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        """(volume, image)"""

    async def show(self, _pod: Obj, name: str, image: str, _folder: Path) -> None:
        self.shown.append((name, image))

    async def release(self, _pod: Obj) -> None:
        self.shown.clear()


class Node:
    """The workers of a node, the runtime below and the cluster above them."""

    def __init__(self, nursery: Nursery, folder: Path, runtime: ModelRuntime | None) -> None:
        self.clock = VirtualClock()
        self.nursery = nursery
        self.runtime = runtime or ModelRuntime(self.clock, nursery)
        self.folder = folder
        self.volumes = ModelVolumes(folder)
        self.image_volumes = ModelImageVolumes()
        self.trouble = ""
        self.topology = NO_TOPOLOGY
        self._killed = False

    async def kill(self) -> None:
        """End as kpy does that is killed: nothing of it hears of anything any more."""
        self._killed = True
        await self.nursery.cancel()

    def connect(
        self, cluster: ModelCluster, client: Client, informers: Informers, *, follows: bool
    ) -> None:
        """Follow the pods of the cluster, unless told not to."""
        self.cluster = cluster
        self.client = client
        self.recorder = Recorder(self.client, "kubelet", self.clock)
        self.statuses = StatusWriter(self.client, self.clock)
        tokens = Tokens(self.client, self.clock)
        plugins = NodePlugins(self.folder, "n1", (self.client, tokens), self.clock, lambda: None)
        self.assignments = Assignments((plugins.devices, plugins.claims), self.topology)
        self.context = self._context()
        self.workers = PodWorkers(self.context, self.nursery)
        self.runtime.wake = self.workers.wake
        self.nursery.start("events", self.recorder.run())
        self.nursery.start("statuses", self.statuses.run())
        if follows:
            informers.get(PODS).subscribe(self._on_pod)

    def _on_pod(self, old: Item | None, new: Item | None) -> None:
        if self._killed:
            return
        if new is not None:
            self.workers.update(new.obj)
        elif old is not None:
            self.workers.remove(old.uid)

    def _context(self) -> NodeContext:
        runtime: Any = self.runtime
        clock = self.clock

        def wake(uid: str) -> None:
            self.workers.wake(uid)

        return NodeContext(
            node_name="n1",
            client=self.client,
            clock=clock,
            recorder=self.recorder,
            runtime=runtime,
            images=ImagePuller(runtime, clock),
            probes=Probes(runtime, clock, self.nursery, wake, lambda *_: None),
            references=References(self.client, clock, self.nursery, wake),
            tokens=Tokens(self.client, clock),
            claims=Claims(self.client),
            volumes=self.volumes,  # type: ignore[arg-type]
            image_volumes=self.image_volumes,  # type: ignore[arg-type]
            statuses=self.statuses,
            assignments=self.assignments,
            cgroups=Cgroups(),
            machine=Machine(memory_bytes=1 << 30, unified=False, seccomp_folder=self.folder),
            logs=self.folder / "logs",
            cluster_dns=["10.43.0.10"],
            cluster_domain="cluster.local",
            allocatable=ALLOCATABLE,
            host_ips=["192.168.0.1"],
            resolver=Resolver,
            services=lambda: (),
            network_trouble=lambda: self.trouble,
            resize_refusal=lambda pod: refusal(pod, self.workers.others(pod), ALLOCATABLE),
            freed=lambda: self.workers.share_out(),  # noqa: PLW0108 -- they are made with this
            crashes=Backoffs(clock),
            user_namespaces=UserNamespaces(self.folder / "pods"),
        )

    # --- what tests do and see ---

    async def create(self, pod: Obj) -> None:
        await self.client.create(PODS, pod)

    def pod(self, name: str = "a") -> Obj | None:
        item = self.cluster.table(PODS).get(Key("default", name))
        return item and item.obj

    def state(self, name: str = "c") -> dict[str, Any]:
        """Return the state of a container as the cluster knows it."""
        status = self.status()
        lists = ("containerStatuses", "initContainerStatuses")
        entries = [entry for key in lists for entry in status.get(key, ())]
        return next(entry for entry in entries if entry["name"] == name)

    def status(self) -> Any:
        pod = self.pod()
        assert pod is not None
        return pod.get("status", {})

    def events(self) -> list[str]:
        """Return the reasons of all events, oldest first."""
        from minikube_py.api.core import EVENTS  # noqa: PLC0415

        found = self.cluster.objects(EVENTS)
        return [event["reason"] for event in found for _ in range(event.get("count", 1))]


@contextlib.asynccontextmanager
async def model_node(
    folder: Path,
    cluster: ModelCluster | None = None,
    runtime: ModelRuntime | None = None,
    *,
    follows: bool = True,
    topology: TopologySettings = NO_TOPOLOGY,
    through: Callable[[Client], Client] = lambda client: client,
) -> AsyncIterator[Node]:
    """Run a node; with the cluster and runtime of another it is that node started again.

    It reaches the cluster `through` a client that stands before the model's.
    """
    async with Nursery("runtime") as outer, Nursery("node") as nursery:
        node = Node(nursery, folder, runtime)
        node.runtime._nursery = outer
        node.topology = topology
        cluster = cluster or ModelCluster(node.clock)
        client = through(StrategicClient(cluster, "kubelet"))
        reading = through(StrategicClient(cluster, "informers"))
        async with Informers(reading, node.clock) as informers:
            node.connect(cluster, client, informers, follows=follows)
            await informers.synced([PODS])
            yield node
            await nursery.cancel()
