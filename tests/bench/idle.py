"""What an idle node writes: a server with its node on a machine of namespaces, left alone.

What the datastore writes is what `kpy datastore stats` says, which is the kernel's count for the
thread that SQLite runs on. It takes root.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from minikube_py.server.control import ask
from tests.bench.report import Figure
from tests.e2e.cluster import Cluster

SETTLE_SECONDS, IDLE_SECONDS = 60.0, 300.0
"""What is done once after the start is over by then; the rarest heartbeat comes every 300 s."""
MEGABYTES = 50
"""Budget of a day."""
DAY_SECONDS = 86_400.0


async def idle(scale: float) -> list[Figure]:
    """Measure a node that does nothing; nothing without root."""
    if os.geteuid():
        return []
    with tempfile.TemporaryDirectory(prefix="kpyb-", dir="/tmp") as folder:
        cluster = Cluster(Path(folder))
        try:
            await asyncio.to_thread(cluster.start)
            return await _figures(cluster.server.data_dir, max(IDLE_SECONDS * scale, 30.0))
        finally:
            await asyncio.to_thread(cluster.close)


async def _figures(data_dir: Path, seconds: float) -> list[Figure]:
    await asyncio.sleep(SETTLE_SECONDS)
    before, began = await _effort(data_dir), time.monotonic()
    await asyncio.sleep(seconds)
    after, took = await _effort(data_dir), time.monotonic() - began
    written = after["writtenBytes"] - before["writtenBytes"]
    commits = after["commits"] - before["commits"]
    note = f"{written / 1e3:.0f} KB and {commits} commits in {took:.0f} s; server and node, no pods"
    return [
        Figure(
            "idle node, written a day", written * DAY_SECONDS / took / 1e6, "MB", MEGABYTES, note
        )
    ]


async def _effort(data_dir: Path) -> Any:
    async for told in ask(data_dir / "server", "stats"):
        return told["effort"]
    raise AssertionError("the server said nothing")
