"""Processes by their numbers and commands, whether they are children or not."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path


def find_processes(*words: str) -> Sequence[int]:
    """Return the processes whose command lines have all of these words, the lowest pid first.

    What a process itself says of its command is the truth also where the one that started it was
    killed before it could note a pid. Those of other containers on this machine do not count.
    """
    wanted = {os.fsencode(word) for word in words}
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if wanted <= _command(pid) and _is_beside(pid)]


def _command(pid: int) -> set[bytes]:
    """Return the words of a command line; none of a process that has ended."""
    try:
        return set(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    except OSError:
        return set()


def _is_beside(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/pid").samefile("/proc/self/ns/pid")
    except OSError:
        return False


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
