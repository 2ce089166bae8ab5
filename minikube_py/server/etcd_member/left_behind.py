"""The etcd that a killed server has left running: its vote still counts until the next start."""

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from minikube_py.lib.pids import find_processes, gone

log = logging.getLogger(__name__)
STOP_SECONDS = 5.0


async def end_left_behind(folder: Path) -> None:
    """End an etcd that runs on the data of a member's folder."""
    for pid in find_processes(f"--data-dir={folder / 'data'}"):
        log.info("ending the etcd that was left running pid=%d", pid)
        await _end(pid)


async def _end(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            os.kill(pid, number)
            async with asyncio.timeout(STOP_SECONDS):
                await gone(pid)
            return
