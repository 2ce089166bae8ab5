"""Work of controllers that is large: a rollout, a namespace that goes, many dependents that go.

Each is measured twice: on the loop that is used, for time, CPU and memory, and on one that tells
how long anything held it. And at two sizes, because time and memory are to grow linearly.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from tests.bench.http import Connection, connected, request, together
from tests.bench.report import Figure
from tests.bench.server import COMMAND, Server, running

SECONDS_MAX = 600.0
POLL_SECONDS = 0.1
QUIET_SECONDS = 1.5
"""What is begun before a measurement has ended by then."""
HELD_BUDGET = 20.0
TELL = "KPY_BENCH_TELL"
"""Variable: show on stderr what held the loop, and where."""
CLIENTS = 16
IDLE_MEGABYTES = 85.0
"""What a server without nodes takes."""
MANY_NODES = "--cluster-cidr=100.64.0.0/10"
"""Room for the networks of 16,384 nodes; the usual one has room for 256."""
FLAGS = ("--simulate-nodes", "50")
RULES = "pods: [{start: 0.2, stop: 0.2}]\n"
SPACES = "/api/v1/namespaces"


@dataclass
class Cost:
    """What a piece of work took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_megabytes: float = 0.0
    grown_megabytes: float = 0.0
    held_ms: float = 0.0
    """The longest CPU time of a callback, where the loop was asked."""
    held_by: str = ""


Work = Callable[[Server, int], Awaitable[Cost]]


@asynccontextmanager
async def measured(server: Server) -> AsyncIterator[Cost]:
    """Fill in what the block costs the server."""
    await asyncio.sleep(QUIET_SECONDS)
    server.forget_peak()
    await longest(server)
    cost, cpu, rss = Cost(), server.cpu_seconds(), server.rss_megabytes()
    began = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - began
    cost.cpu_seconds = server.cpu_seconds() - cpu
    cost.peak_megabytes = server.peak_megabytes()
    cost.grown_megabytes = cost.peak_megabytes - rss
    cost.held_ms, cost.held_by = await longest(server)


async def longest(server: Server) -> tuple[float, str]:
    """Return what held the loop longest since this was asked last, in milliseconds."""
    file = server.blocking
    if file is None:
        return 0.0, ""
    file.unlink(missing_ok=True)
    os.kill(server.pids[0], signal.SIGUSR2)
    async with asyncio.timeout(SECONDS_MAX):
        while not file.exists():  # noqa: ASYNC110 -- another process writes it
            await asyncio.sleep(POLL_SECONDS)
    found = orjson.loads(file.read_bytes())["longest"]
    if os.environ.get(TELL):
        sys.stderr.write("--- what held the loop\n")
        for one in found:
            sys.stderr.write(f"{one['ms']:7.1f} ms {one['what']}\n        {one['where']}\n")
    return (found[0]["ms"], found[0]["what"]) if found else (0.0, "")


async def until(
    connection: Connection, path: str, true: Callable[[Any], bool], every: float = POLL_SECONDS
) -> None:
    """Ask for a document again and again until something is true of it."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            if true(orjson.loads(await connection.send(request("GET", path)))):
                return
            await asyncio.sleep(every)


async def space(connection: Connection, name: str) -> str:
    """Make a namespace in which pods can be; return its path."""
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await connection.send(request("POST", SPACES, document))
    path = f"{SPACES}/{name}"
    await until(connection, f"{path}/serviceaccounts", lambda answer: bool(answer["items"]))
    return path


async def post_all(server: Server, path: str, documents: Sequence[Any]) -> None:
    """Create objects, many at once."""
    async with connected(server, CLIENTS) as connections:
        for start in range(0, len(documents), 1000):
            part = documents[start : start + 1000]
            await together(connections, [request("POST", path, one) for one in part])


def is_empty(answer: Any) -> bool:
    """Whether a list, asked with limit=1, is."""
    return not answer["items"]


def configmap(name: str, **metadata: Any) -> dict[str, Any]:
    """A small object."""
    head = {"apiVersion": "v1", "kind": "ConfigMap"}
    return {**head, "metadata": {"name": name, **metadata}, "data": {"key": "value" * 10}}


async def rollout(server: Server, size: int) -> Cost:
    """Change the image of a Deployment of so many pods."""
    connection = await Connection.open(server)
    await space(connection, "rollout")
    path = "/apis/apps/v1/namespaces/rollout/deployments"
    await connection.send(request("POST", path, deployment(size, "first")))

    def arrived(answer: Any) -> bool:
        status, generation = answer.get("status", {}), answer["metadata"]["generation"]
        counts = [status.get(name, 0) for name in ("updatedReplicas", "availableReplicas")]
        same = status.get("observedGeneration") == generation
        return same and counts == [size, size] and status.get("replicas") == size

    await until(connection, f"{path}/web", arrived)
    async with measured(server) as cost:
        containers = [{"name": "c", "image": "second"}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        media = "application/strategic-merge-patch+json"
        await connection.send(request("PATCH", f"{path}/web", patch, media))
        await until(connection, f"{path}/web", arrived)
    connection.close()
    return cost


def deployment(size: int, image: str) -> dict[str, Any]:
    """A Deployment of plain pods."""
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    spec = {"replicas": size, "selector": {"matchLabels": labels}, "template": template}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    return {**head, "spec": spec}


async def namespace(server: Server, size: int) -> Cost:
    """Delete a namespace with so many objects of two kinds."""
    connection = await Connection.open(server)
    path = await space(connection, "full")
    half = size // 2
    await post_all(server, f"{path}/configmaps", [configmap(f"c-{n}") for n in range(half)])
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s-{n}"}} for n in range(half)
    ]
    await post_all(server, f"{path}/secrets", secrets)
    async with measured(server) as cost:
        await connection.send(request("DELETE", path))
        found = f"{SPACES}?fieldSelector=metadata.name%3Dfull"
        await until(connection, found, is_empty)
    connection.close()
    return cost


async def dependents(server: Server, size: int) -> Cost:
    """Delete the owner of so many objects."""
    connection = await Connection.open(server)
    path = await space(connection, "owned")
    owner = orjson.loads(
        await connection.send(request("POST", f"{path}/configmaps", configmap("owner")))
    )
    name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}
    owned = [
        configmap(f"d-{n}", labels={"owned": "yes"}, ownerReferences=[reference])
        for n in range(size)
    ]
    await post_all(server, f"{path}/configmaps", owned)
    async with measured(server) as cost:
        await connection.send(request("DELETE", f"{path}/configmaps/owner"))
        found = f"{path}/configmaps?labelSelector=owned%3Dyes&limit=1"
        await until(connection, found, is_empty)
    connection.close()
    return cost


async def collection(server: Server, size: int) -> Cost:
    """Delete so many objects with one request."""
    connection = await Connection.open(server)
    path = f"{await space(connection, 'many')}/configmaps"
    await post_all(server, path, [configmap(f"c-{n}") for n in range(size)])
    async with measured(server) as cost:
        await connection.send(request("DELETE", path))
        await until(connection, f"{path}?limit=1", lambda answer: len(answer["items"]) <= 1)
    connection.close()
    return cost


WORKS: tuple[tuple[str, Work, int], ...] = (
    ("rollout of pods", rollout, 1000),
    ("namespace with objects", namespace, 10_000),
    ("garbage collection", dependents, 10_000),
    ("deletecollection", collection, 10_000),
)


async def controllers(scale: float, names: Sequence[str]) -> list[Figure]:
    """Measure all, at half the size and the whole."""
    figures = []
    for name, work, usual in WORKS:
        if names and not any(part in name for part in names):
            continue
        for size in (int(usual * scale / 2), int(usual * scale)):
            figures += await _figures(name, work, size)
    return figures


async def _figures(name: str, work: Work, size: int) -> list[Figure]:
    async with quick() as server:
        cost = await work(server, size)
    async with blocking(quick) as server:
        held = await work(server, size)
    each = cost.cpu_seconds / size * 1e6
    note = (
        f"{cost.cpu_seconds:.1f} s CPU, {each:.0f} us each; peak RSS {cost.peak_megabytes:.0f} MB, "
        f"{cost.grown_megabytes * 1024 / size:.1f} KB each"
    )
    what = f"{name}, {size:,}"
    return [
        Figure(what, cost.seconds, "s", SECONDS_MAX, note),
        Figure(f"{what}: loop held", held.held_ms, "ms", HELD_BUDGET, held.held_by),
    ]


@asynccontextmanager
async def quick() -> AsyncIterator[Server]:
    """Run a server whose simulated pods start and stop at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as rules:
        rules.write(RULES)
        rules.flush()
        async with running(*FLAGS, "--simulate-config", rules.name) as server:
            yield server


@asynccontextmanager
async def blocking(
    start: Callable[[], AbstractAsyncContextManager[Server]],
) -> AsyncIterator[Server]:
    """Run a server on the loop that knows what holds it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "blocking.json")
        before = os.environ.get(COMMAND)
        os.environ[COMMAND] = f"{sys.executable} -m tests.bench.blocking {file} server"
        try:
            async with start() as server:
                yield replace(server, blocking=file)
        finally:
            if before is None:
                del os.environ[COMMAND]
            else:
                os.environ[COMMAND] = before


IDLE_SECONDS = 30.0
NODES = (1000, 5000)


async def nodes(scale: float, _names: Sequence[str]) -> list[Figure]:
    """Leave a server with many simulated nodes alone: what heartbeats cost, and memory."""
    figures = []
    for count in (int(size * scale) for size in NODES):
        async with running("--simulate-nodes", str(count), MANY_NODES) as server:
            connection = await Connection.open(server)
            for path in ("/api/v1/nodes", "/apis/coordination.k8s.io/v1/leases"):
                last = f"{path}?fieldSelector=metadata.name%3Dsim-{count - 1:05}"
                await until(connection, last, lambda answer: bool(answer["items"]))
            connection.close()
            await asyncio.sleep(IDLE_SECONDS)
            before = server.cpu_seconds()
            await asyncio.sleep(IDLE_SECONDS)
            busy = (server.cpu_seconds() - before) / IDLE_SECONDS * 100
            rss = server.rss_megabytes()
        each = f"{(rss - IDLE_MEGABYTES) * 1024 / count:.1f} KB a node"
        figures += [
            Figure(f"idle CPU, {count:,} simulated nodes", busy, "%", 10.0, "their heartbeats"),
            Figure(f"RSS, {count:,} simulated nodes", rss, "MB", 80 + count * 0.03, each),
        ]
    return figures
