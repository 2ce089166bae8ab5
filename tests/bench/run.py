"""The measurements. Each sends its requests and divides the CPU time that the server used."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson

from tests.bench import datastore, idle, large, network, node, objects, reference
from tests.bench import scheduling as scheduled
from tests.bench.http import Connection, Watcher, connected, request, together
from tests.bench.objects import CONFIGMAPS, PODS
from tests.bench.report import Figure, Result
from tests.bench.server import Server, running

CLIENTS = 16
IDLE_SECONDS = 40.0
"""Long enough for the half-minute timers to fire."""
WATCHERS = 100
CONNECTED_SECONDS = 10.0
SLICES = 8
"""Each measurement is cut into so many, and the cheapest counts: what disturbs only adds."""
API_ONLY = ("--disable-scheduler", "--disable-controller-manager")
"""What the other components do with the objects is not part of a request."""


@dataclass
class Bench:
    """One server, and the figures measured on it."""

    server: Server
    scale: float
    figures: list[Figure] = field(default_factory=list)
    _cpu: float = 0.0

    def count(self, usual: int) -> int:
        """Return how often to do something."""
        return max(int(usual * self.scale), 1)

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[list[float]]:
        """Put the CPU seconds that the block costs the server into the list."""
        before, result = self.server.cpu_seconds(), [0.0]
        yield result
        result[0] = self.server.cpu_seconds() - before

    async def cost(
        self, name: str, budget: float, requests: Sequence[bytes], clients: int = CLIENTS
    ) -> None:
        """Measure the CPU microseconds of one request: the best of some slices."""
        size = max(len(requests) // SLICES, 1)
        costs: list[float] = []
        took: list[float] = []
        began = time.perf_counter()
        async with connected(self.server, clients) as connections:
            for start in range(0, len(requests) - size + 1, size):
                async with self.counting() as cpu:
                    took += await together(connections, requests[start : start + size])
                costs.append(cpu[0] / size * 1e6)
        wall = time.perf_counter() - began
        took.sort()
        note = (
            f"{len(took)}, {clients} at a time; {len(took) / wall:.0f}/s, "
            f"p50 {took[len(took) // 2] * 1e3:.1f} p99 {took[len(took) * 99 // 100] * 1e3:.1f} ms"
        )
        self.add(name, min(costs), "us", budget, note)

    def add(self, name: str, value: float, unit: str, budget: float, note: str = "") -> None:
        """Keep a figure."""
        self.figures.append(Figure(name, value, unit, budget, note))


async def prepare(bench: Bench) -> None:
    """Make the namespace, and warm up code and connections."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.NAMESPACE}}
    path = f"/api/v1/namespaces/{objects.NAMESPACE}/serviceaccounts"
    warm = [request("POST", CONFIGMAPS, objects.configmap(f"warm-{n}")) for n in range(100)]
    first = [request("POST", "/api/v1/namespaces", space), request("POST", path, account)]
    async with connected(bench.server, 1) as connections:
        await together(connections, first + warm)


async def writes(bench: Bench) -> None:
    """Create, update and patch config maps; durable, as always."""
    count = bench.count(3000)
    names = [f"cm-{n}" for n in range(count)]
    creations = [request("POST", CONFIGMAPS, objects.configmap(name)) for name in names]
    await bench.cost("CREATE configmap 1 KB", 500, creations)
    updates = [
        request("PUT", f"{CONFIGMAPS}/{name}", objects.configmap(name, "w")) for name in names
    ]
    await bench.cost("UPDATE configmap 1 KB", 450, updates)
    merge = "application/merge-patch+json"
    patches = [
        request("PATCH", f"{CONFIGMAPS}/{name}", {"data": {"key-1": "patched"}}, merge)
        for name in names
    ]
    await bench.cost("PATCH configmap (merge)", 450, patches)
    few = [request("POST", CONFIGMAPS, objects.configmap(f"one-{n}")) for n in range(count // 4)]
    await bench.cost("CREATE configmap, one client", 800, few, clients=1)


async def pods(bench: Bench) -> None:
    """Create 5,000 pods, get one, list all."""
    count = bench.count(5000)
    creations = [request("POST", PODS, objects.pod(f"pod-{n:05}")) for n in range(count)]
    before = bench.server.rss_megabytes()
    await bench.cost("CREATE pod 2 KB", 900, creations)
    grown = (bench.server.rss_megabytes() - before) * 1024 / count
    bench.add("RSS per pod", grown, "KB", 12, "with history, index and what a burst leaves behind")
    connection = await Connection.open(bench.server)
    stored = len(await connection.send(request("GET", PODS))) / 1024 / count
    note = f"the JSON of a pod is {stored:.1f} KB"
    bench.add("RSS, in sizes of what is stored", grown / stored, "", 3, note)
    few = [request("POST", PODS, objects.plain_pod(f"plain-{n}")) for n in range(100)]
    await together([connection], few)
    size = len(await connection.send(request("GET", f"{PODS}/plain-0")))
    gets = [request("GET", f"{PODS}/plain-{n % 100}") for n in range(bench.count(20_000))]
    await bench.cost(f"GET pod {size / 1000:.1f} KB", 100, gets)
    strategic = "application/strategic-merge-patch+json"
    condition = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    patches = [
        request("PATCH", f"{PODS}/pod-{n:05}/status", condition, strategic)
        for n in range(bench.count(2000))
    ]
    await bench.cost("PATCH pod status (strategic)", 900, patches)
    costs: list[float] = []
    for _ in range(SLICES):
        async with bench.counting() as cpu:
            length = len(await connection.send(request("GET", PODS)))
        costs.append(cpu[0])
    count += len(few)
    note = f"{count} pods, {length / 1e6:.1f} MB, {min(costs) * 1e3:.0f} ms each"
    bench.add("LIST, per pod", min(costs) / count * 1e6, "us", 10, note)
    connection.close()


async def fan_out(bench: Bench) -> None:
    """Let 100 watchers follow updates, one at a time and in bursts."""
    connection = await Connection.open(bench.server)
    await connection.send(request("POST", CONFIGMAPS, objects.configmap("watched")))
    listed = orjson.loads(await connection.send(request("GET", f"{CONFIGMAPS}/watched")))
    revision = listed["metadata"]["resourceVersion"]
    watchers = [await Watcher.open(bench.server) for _ in range(WATCHERS)]
    path = f"{CONFIGMAPS}?watch=1&resourceVersion={revision}&timeoutSeconds=600"
    for watcher in watchers:
        assert isinstance(watcher, Watcher)
        watcher.start(path)
    await _watched(bench, watchers, "watch event, per watcher", 20, bench.count(200), 1)  # type: ignore[arg-type]
    await _watched(bench, watchers, "same, in bursts of 16", 4, bench.count(100) * 16, 16)  # type: ignore[arg-type]
    for watcher in watchers:
        watcher.close()
    connection.close()


async def connections(bench: Bench) -> None:
    """Open connections, ask one thing on each, and leave them alone."""
    count = bench.count(2000)
    before = bench.server.rss_megabytes()
    async with bench.counting() as cpu:
        kept = [await Connection.open(bench.server) for _ in range(count)]
    bench.add("new connection", cpu[0] / count * 1e6, "us", 2000, "TLS 1.3, client certificate")
    for connection in kept:
        await connection.send(request("GET", f"/api/v1/namespaces/{objects.NAMESPACE}"))
    grown = (bench.server.rss_megabytes() - before) * 1024 / count
    async with bench.counting() as cpu:
        await asyncio.sleep(CONNECTED_SECONDS)
    idle = cpu[0] / CONNECTED_SECONDS * 100
    note = f"{count} connections, {idle:.2f} % of a CPU for all of them"
    bench.add("RSS per idle connection", grown, "KB", 60, note)
    for connection in kept:
        connection.close()


async def _watched(
    bench: Bench, watchers: Sequence[Watcher], name: str, budget: float, count: int, clients: int
) -> None:
    """Measure writes with the watchers looking on, less the same where nobody looks."""
    alone: list[float] = []
    watched: list[float] = []
    size = max(count // SLICES // clients, 1) * clients
    for turn in range(SLICES):
        async with bench.counting() as cpu:
            await _bursts(bench, f"default {turn}", size, clients, ())
        alone.append(cpu[0] / size)
        async with bench.counting() as cpu:
            await _bursts(bench, f"{objects.NAMESPACE} {turn}", size, clients, watchers)
        watched.append(cpu[0] / size)
    cost = (min(watched) - min(alone)) / len(watchers) * 1e6
    bench.add(name, cost, "us", budget, f"{len(watchers)} watchers, {size * SLICES} events of 1 KB")


async def _bursts(
    bench: Bench, what: str, count: int, clients: int, watchers: Sequence[Watcher]
) -> None:
    """Create `count` objects, so many at once, and let the watchers see each burst to its end."""
    namespace, turn = what.split()
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    seen = watchers[0].events if watchers else 0
    async with connected(bench.server, clients) as connections:
        for burst in range(count // clients):
            names = (f"burst-{clients}-{turn}-{burst}-{n}" for n in range(clients))
            bodies = [request("POST", path, objects.configmap(name)) for name in names]
            await together(connections, bodies)
            seen += clients
            await asyncio.gather(*(watcher.reach(seen) for watcher in watchers))


async def start(scale: float) -> list[Figure]:
    """Start the whole control plane and leave it alone."""
    async with running() as server:
        ready = Figure("ready after a fresh start", server.ready_seconds, "s", 1.5)
        await asyncio.sleep(3)  # what is done once after the start is not idle time
        before = server.cpu_seconds()
        seconds = IDLE_SECONDS * max(scale, 0.2)
        await asyncio.sleep(seconds)
        idle = (server.cpu_seconds() - before) / seconds * 100
        note = "scheduler and controllers on, no nodes"
        return [
            ready,
            Figure("idle CPU, control plane", idle, "%", 0.4, f"over {seconds:.0f} s; {note}"),
            Figure("idle RSS, control plane", server.rss_megabytes(), "MB", 100, note),
        ]


def yardstick() -> float:
    """Return the CPU milliseconds of a fixed piece of Python: how fast the machine is just now."""
    began = time.process_time()
    total = 0
    for n in range(200_000):
        total += len({"n": n, "text": str(n)})
    return (time.process_time() - began) * 1e3


Case = Callable[[Bench], Awaitable[None]]
CASES: tuple[tuple[str, Case], ...] = (
    ("writes", writes),
    ("pods", pods),
    ("watch", fan_out),
    ("connections", connections),
)


async def everything(names: Sequence[str], scale: float) -> Result:
    """Run the measurements whose names were given, or all."""

    def wanted(case: str) -> bool:
        return not names or any(name in case for name in names)

    figures = await start(scale) if wanted("start") else []
    yardsticks = [yardstick()]
    cases = [case for name, case in CASES if wanted(name)]
    if cases:
        async with running(*API_ONLY) as server:
            bench = Bench(server, scale)
            await prepare(bench)
            for case in cases:
                await case(bench)
                yardsticks.append(yardstick())
            figures += bench.figures
    if cases and reference.is_given():
        figures = await _beside(figures, cases, scale)
    nodes = await node.node(scale) if not names or "node" in names else []
    nodes += await idle.idle(scale) if not names or "idle-node" in names else []
    services = await network.network(scale) if not names or "network" in names else []
    stores, stored = await _datastore(names, scale)
    grown = await _large(names, scale)
    result = Result(figures, yardsticks, grown, nodes, services, stores, stored)
    yardsticks.append(yardstick())
    return result


async def _datastore(
    names: Sequence[str], scale: float
) -> tuple[Sequence[Sequence[str]], Sequence[Figure]]:
    if names and "datastore" not in names:
        return (), ()
    measured, figures = await datastore.datastore(scale)
    return [datastore.HEAD, *(one.cells for one in measured)], figures


LARGE = {
    "nodes": large.nodes,
    "scheduling": scheduled.scheduling,
    "controllers": large.controllers,
}
"""Measurements of the whole control plane; names beside these choose among their parts."""


async def _large(names: Sequence[str], scale: float) -> list[Figure]:
    figures: list[Figure] = []
    for name, measure in LARGE.items():
        if not names or name in names:
            figures += await measure(scale, [one for one in names if one not in LARGE])
    return figures


async def _beside(figures: Sequence[Figure], cases: Sequence[Case], scale: float) -> list[Figure]:
    """Measure the same on kube-apiserver and etcd, and put both figures into each row."""
    async with reference.running() as server:
        bench = Bench(server, scale)
        await prepare(bench)
        for case in cases:
            await case(bench)
    found = {figure.name: figure.value for figure in bench.figures}
    found["ready after a fresh start"] = server.ready_seconds
    return [replace(figure, reference=found.get(figure.name)) for figure in figures]
