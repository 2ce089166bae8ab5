"""What a node costs: the start of a pod beside the bare calls of CRI, and a node full of pods.

Server and agent are processes of their own on two machines of namespaces, as end-to-end tests have
them; it takes root. A pod of ours and a sandbox with a container of the bare runtime are started in
turn, so that both meet the same machine: what is between them is the API server, the scheduler, the
kubelet and the pod's volumes. The agent's CPU time and memory are read from /proc.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.config import Machine as MachineFacts
from minikube_py.agent.kubelet.config import Start, container_config, sandbox_config
from minikube_py.agent.kubelet.dns import Resolver
from minikube_py.api.apps import DEPLOYMENTS
from minikube_py.api.core import PODS, SERVICEACCOUNTS
from minikube_py.api.object import Obj, get
from minikube_py.client.http import HttpClient
from minikube_py.client.kubeconfig import load
from minikube_py.client.protocol import Client, ItemList
from tests.bench.report import Figure
from tests.bench.server import Server
from tests.e2e.cluster import Cluster

IMAGE = "kpy.local/busybox:1"
SINGLES, REPLICAS, FULL = 10, 20, 110
"""The last makes a full node."""
IN_FLIGHT = 8
IDLE_SECONDS = 60.0
SECONDS_MAX = 240.0
MORE_MS, TIMES, IDLE_PERCENT, MEGABYTES = 100, 1.5, 1, 60
"""Budgets: over the bare runtime for one pod, for many of it, and of the agent."""


async def node(scale: float) -> list[Figure]:
    """Measure one node; nothing without root."""
    if os.geteuid():
        return []
    return await asyncio.to_thread(_measure, scale)


def _measure(scale: float) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="kpyb-", dir="/tmp") as folder:
        cluster = Cluster(Path(folder), flags=("--disable-agent",))
        try:
            cluster.start(with_node=False)
            worker = cluster.add_worker("n2", "192.168.77.2")
            agent = Server((worker.pid,), 0, None, 0.0)
            socket = worker.data_dir / "agent" / "containerd" / "containerd.sock"
            bench = _Node(cluster, agent, str(socket), scale)
            figures: list[Figure] = cluster.machine.run(bench.figures)
        finally:
            cluster.close()
    return figures


class _Node:
    """One node under measurement."""

    def __init__(self, cluster: Cluster, agent: Server, socket: str, scale: float) -> None:
        self._kubeconfig = cluster.kubeconfig
        self._agent = agent
        self._socket = socket
        self._logs = cluster.folder / "bare"
        self._scale = scale

    async def figures(self) -> list[Figure]:
        client, connection = HttpClient(load(self._kubeconfig)), Connection(self._socket)
        bare = _Bare(connection, self._logs)
        try:
            await bare.prepare()
            await _account(client)
            singles = await self._singles(client, bare)
            return [*singles, *await self._replicas(client, bare), *await self._full(client)]
        finally:
            await client.close()
            await connection.aclose()

    async def _singles(self, client: Client, bare: "_Bare") -> list[Figure]:
        ours, theirs = [], []
        for number in range(max(int(SINGLES * self._scale), 3)):
            ours.append(await _timed(lambda n=number: _one(client, f"single-{n}")))  # type: ignore[misc]
            await _gone(client, f"single-{number}")
            theirs.append(await _timed(lambda n=number: bare.start(f"bare-{n}")))  # type: ignore[misc]
            await bare.remove(f"bare-{number}")
        mine, its = (statistics.median(one) * 1e3 for one in (ours, theirs))
        note = f"p50 of {len(ours)}: {mine:.0f} ms, slowest {max(ours) * 1e3:.0f}; bare {its:.0f}"
        return [Figure("pod, created to Ready, over bare CRI", mine - its, "ms", MORE_MS, note)]

    async def _replicas(self, client: Client, bare: "_Bare") -> list[Figure]:
        cpu = self._agent.cpu_seconds()
        ours = await _timed(lambda: _deployed(client, "twenty", REPLICAS))
        used = self._agent.cpu_seconds() - cpu
        gone = await _timed(lambda: _undeployed(client, "twenty"))
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def start(name: str) -> None:
            async with slots:
                await bare.start(name)

        names = [f"many-{n}" for n in range(REPLICAS)]
        theirs = await _timed(lambda: asyncio.gather(*(start(name) for name in names)))
        await asyncio.gather(*(bare.remove(name) for name in names))
        note = f"{ours:.2f} s, bare {theirs:.2f} s; all gone after delete in {gone:.2f} s"
        each = f"CPU of the agent, {REPLICAS} pods at once"
        return [
            Figure(f"{REPLICAS} replicas, beside bare CRI", ours / theirs, "", TIMES, note),
            Figure("start of a pod, agent", used / REPLICAS * 1e3, "ms", 30, each),
        ]

    async def _full(self, client: Client) -> list[Figure]:
        count = max(int(FULL * self._scale), 10)
        took = await _timed(lambda: _deployed(client, "full", count))
        rest = "" if await self._agent.quiet() else "; it did not come to rest"
        seconds, before = IDLE_SECONDS * max(self._scale, 0.5), self._agent.cpu_seconds()
        await asyncio.sleep(seconds)
        idle = (self._agent.cpu_seconds() - before) / seconds * 100
        note = f"{count} pods with four volumes each and a probe every 20 s{rest}"
        return [
            Figure("idle CPU, agent of a full node", idle, "%", IDLE_PERCENT, note),
            Figure(
                "idle RSS, agent of a full node",
                self._agent.rss_megabytes(),
                "MB",
                MEGABYTES,
                f"{count} pods, all Ready after {took:.1f} s",
            ),
        ]


class _Bare:
    """The runtime without a kubelet: the same calls with the same messages, and nothing else."""

    def __init__(self, connection: Connection, logs: Path) -> None:
        self._runtime = Runtime(connection)
        self._images = Images(connection)
        self._logs = logs
        self._sandboxes: dict[str, str] = {}
        self._image: Any = None

    async def prepare(self) -> None:
        self._image = await self._images.status(IMAGE)

    async def start(self, name: str) -> None:
        pod = _pod(name) | {"metadata": {"name": name, "namespace": "default", "uid": name}}
        (self._logs / f"default_{name}_{name}" / "c").mkdir(parents=True, exist_ok=True)
        sandbox = sandbox_config(pod, 0, name, Resolver(), self._logs)
        # Nobody is to take it for a pod that the cluster does not know.
        sandbox = {**sandbox, "labels": {}}
        started = await self._runtime.run_sandbox(sandbox)
        self._sandboxes[name] = started
        start = Start(restart_count=0, image=self._image, env={})
        facts = MachineFacts(memory_bytes=1 << 30, unified=False, seccomp_folder=self._logs)
        container = container_config(pod, pod["spec"]["containers"][0], start, facts)
        made = await self._runtime.create_container(started, {**container, "labels": {}}, sandbox)
        await self._runtime.start_container(made)

    async def remove(self, name: str) -> None:
        sandbox = self._sandboxes.pop(name)
        await self._runtime.stop_sandbox(sandbox)
        await self._runtime.remove_sandbox(sandbox)


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    async with asyncio.timeout(SECONDS_MAX):
        await work()
    return time.perf_counter() - began


async def _account(client: Client) -> None:
    """Wait for the account that pods of the namespace run as."""
    async with asyncio.timeout(SECONDS_MAX):
        await _until(lambda: client.list(SERVICEACCOUNTS, "default"), any_there=True)


async def _until(listing: Callable[[], Awaitable[ItemList]], *, any_there: bool) -> None:
    while True:
        found = await listing()
        if bool(found.items) == any_there:
            return
        await asyncio.sleep(0.1)


async def _one(client: Client, name: str) -> None:
    """Create a pod and wait until it is ready."""
    made = await client.create(PODS, _pod(name))
    revision = int(made["metadata"]["resourceVersion"])
    selector = f"metadata.name={name}"
    async for batch in client.watch(PODS, "default", revision=revision, field_selector=selector):
        if any(e.type != "BOOKMARK" and _is_ready(e.item.obj) for e in batch):
            return


async def _gone(client: Client, name: str) -> None:
    options = {"gracePeriodSeconds": 0}
    revision = (await client.list(PODS, "default")).revision
    await client.delete(PODS, name, "default", options=options)
    selector = f"metadata.name={name}"
    async for batch in client.watch(PODS, "default", revision=revision, field_selector=selector):
        if any(e.type == "DELETED" for e in batch):
            return


async def _deployed(client: Client, name: str, replicas: int) -> None:
    """Create a deployment and wait until all of it is ready."""
    pod = _pod(name)
    labels = {"app": name}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
    }
    made = await client.create(DEPLOYMENTS, {**_named(name), "spec": spec})
    revision = int(made["metadata"]["resourceVersion"])
    async for batch in client.watch(DEPLOYMENTS, "default", revision=revision):
        ready = [get(e.item.obj, "status.readyReplicas", 0) for e in batch if e.type != "BOOKMARK"]
        if replicas in ready:
            return


async def _undeployed(client: Client, name: str) -> None:
    await client.delete(DEPLOYMENTS, name, "default", options={"propagationPolicy": "Background"})
    selector = f"app={name}"
    await _until(lambda: client.list(PODS, "default", label_selector=selector), any_there=False)


def _named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


def _is_ready(pod: Obj) -> bool:
    conditions = get(pod, "status.conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _pod(name: str) -> dict[str, Any]:
    """Return a pod as most are: it writes, has settings, a token and something to keep apart."""
    server = "echo ok > /www/i; exec httpd -f -p 8080 -h /www"
    container: dict[str, Any] = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", f"mkdir -p /www; {server}"],
        "resources": {"requests": {"cpu": "1m"}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/www"},
            {"name": "settings", "mountPath": "/etc/settings"},
            {"name": "about", "mountPath": "/etc/about"},
        ],
    }
    if name == "full":
        probe = {"httpGet": {"path": "/i", "port": 8080}, "periodSeconds": 20}
        container["livenessProbe"] = probe
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "kube-root-ca.crt"}},
        {
            "name": "about",
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            },
        },
    ]
    spec = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", **_named(name), "spec": spec}
