"""Processes by their numbers, whether they are children or not."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path


def command_of(pid: int) -> Sequence[bytes]:
    """Return the words of a process' command line; none where there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ()


async def gone(pid: int) -> None:
    """Wait until a process is gone, without asking again and again; it need not be a child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
