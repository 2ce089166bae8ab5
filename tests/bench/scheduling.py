"""How fast pods are bound, by the built-in scheduler and, where it is given, by kube-scheduler.

The pods are made while no scheduler runs, on nodes that are simulated and never start them. Then
the scheduler starts, and what is measured is the time from its first binding to its last, and the
CPU of the process that schedules: kpy's whole control plane, or kube-scheduler alone, for which
kpy (or kube-apiserver, see `reference`) answers.

KPY_BENCH_KUBE_SCHEDULER is the path of kube-scheduler. Upstream's gates at 5,000 nodes are 680 pods
a second for plain pods and 60 for required anti-affinity.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from tests.bench.http import Connection, request
from tests.bench.large import MANY_NODES, is_empty, post_all, space, until
from tests.bench.report import Figure
from tests.bench.server import Server, running, stopped

KUBE_SCHEDULER = "KPY_BENCH_KUBE_SCHEDULER"
SIZES = ((500, 1000), (1000, 5000), (5000, 10_000))
"""Nodes and pods."""
RULES = "nodes: [{zones: [a, b, c]}]\npods: [{start: never}]\n"
NAMESPACE = "bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
UNBOUND = f"{PODS}?fieldSelector={quote('spec.nodeName=')}"
SECONDS_MAX = 900.0
POLL_SECONDS = 0.25
GROUPS = 50
"""So many services the constrained pods belong to: pods of one do not share a node."""
GATE = 680.0
CPU_BUDGET = 3000.0


def plain(number: int) -> dict[str, Any]:
    """A pod that fits anywhere."""
    labels = {"app": f"app-{number % GROUPS}"}
    requests = {"cpu": "100m", "memory": "128Mi"}
    container = {"name": "c", "image": "pause", "resources": {"requests": requests}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number:05}", "labels": labels},
        "spec": {"containers": [container]},
    }


def constrained(number: int) -> dict[str, Any]:
    """A pod that is spread over zones, and shares no node with others of its service."""
    pod = plain(number)
    selector = {"matchLabels": pod["metadata"]["labels"]}
    spread = {
        "maxSkew": 5,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector,
    }
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    apart = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    more = {"topologySpreadConstraints": [spread], "affinity": {"podAntiAffinity": apart}}
    return {**pod, "spec": {**pod["spec"], **more}}


KINDS = (("plain", plain), ("spread and apart", constrained))


async def scheduling(scale: float, names: Sequence[str]) -> list[Figure]:
    """Measure every size and kind of pods."""
    figures = []
    for nodes, pods in SIZES:
        for name, make in KINDS:
            what = f"{name}, {nodes:,} nodes, {pods:,} pods"
            if names and not any(part in what for part in names):
                continue
            documents = [make(number) for number in range(int(pods * scale))]
            figures += await _figures(what, int(nodes * scale), documents)
    return figures


async def _figures(what: str, nodes: int, pods: Sequence[Any]) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="kpy-bench-") as folder:
        flags = flags_of(Path(folder), nodes)
        async with running(*flags, "--disable-scheduler", folder=folder) as server:
            await prepare(server, nodes, pods)
        async with running(*flags, folder=folder) as server:
            ours = await bound(server)
    theirs = await _kube_scheduler(nodes, pods) if os.environ.get(KUBE_SCHEDULER) else None
    rate = f"{1000 / ours.each_ms:.0f} pods/s; peak RSS {ours.peak_megabytes:.0f} MB"
    beside = None if theirs is None else theirs.each_ms
    cpu_beside = None if theirs is None else theirs.cpu_each
    return [
        Figure(f"bind a pod, {what}", ours.each_ms, "ms", 1000 / GATE, rate, beside),
        Figure(f"CPU of it, {what}", ours.cpu_each, "us", CPU_BUDGET, "all of kpy", cpu_beside),
    ]


def flags_of(folder: Path, nodes: int) -> tuple[str, ...]:
    """Return the flags of a server with so many nodes."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    return MANY_NODES, "--simulate-nodes", str(nodes), "--simulate-config", str(rules)


async def prepare(server: Server, nodes: int, pods: Sequence[Any]) -> None:
    """Wait for the nodes, and make the pods."""
    connection = await Connection.open(server)
    await space(connection, NAMESPACE)
    for node in range(max(nodes - 1, 0), nodes):  # they are made in order
        path = f"/api/v1/nodes?fieldSelector=metadata.name%3Dsim-{node:05}"
        await until(connection, path, lambda answer: bool(answer["items"]))
    await post_all(server, PODS, pods)
    connection.close()


@dataclass(frozen=True)
class Speed:
    """What binding the pods took, for each."""

    each_ms: float
    cpu_each: float
    """Microseconds."""
    peak_megabytes: float


async def bound(server: Server) -> Speed:
    """Wait until all pods are bound; what the start did before is left out."""
    connection = await Connection.open(server)
    began, cpu, before = time.perf_counter(), server.cpu_seconds(), await _unbound(connection)
    left = before
    async with asyncio.timeout(SECONDS_MAX):
        while left:
            await asyncio.sleep(POLL_SECONDS)
            if is_empty(orjson.loads(await connection.send(request("GET", f"{UNBOUND}&limit=1")))):
                left = 0
    seconds, spent = time.perf_counter() - began, server.cpu_seconds() - cpu
    connection.close()
    each = seconds / max(before, 1)
    return Speed(each * 1e3, spent / max(before, 1) * 1e6, server.peak_megabytes())


async def _unbound(connection: Connection) -> int:
    """Count the pods without a node; a long answer comes in chunks, which are left as they are."""
    return (await connection.send(request("GET", UNBOUND))).count(b'"schedulerName"')


async def _kube_scheduler(nodes: int, pods: Sequence[Any]) -> Speed:
    """Let kube-scheduler bind the same pods, in a cluster of kpy's API server."""
    with tempfile.TemporaryDirectory(prefix="kpy-bench-") as folder:
        flags = flags_of(Path(folder), nodes)
        async with running(*flags, "--disable-scheduler", folder=folder) as server:
            await prepare(server, nodes, pods)
            line = (os.environ[KUBE_SCHEDULER], f"--kubeconfig={folder}/kubeconfig")
            process = await asyncio.create_subprocess_exec(
                *line, "--leader-elect=false", "--secure-port=0", stderr=asyncio.subprocess.DEVNULL
            )
            try:
                return await bound(replace(server, pids=(process.pid,)))
            finally:
                await stopped(process)
