"""What a datastore costs its disk.

SQLite runs on a thread of its own, so what the kernel counts for that thread is what the store
writes: pages of the write-ahead log and of the file, whoever asked for them.
"""

import threading
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable


class Effort(NamedTuple):
    """What a store did since it was opened."""

    written_bytes: int | None
    """Handed to the kernel to be written; None where the kernel does not tell."""
    commits: int
    """Durable transactions: each is an fsync. (A checkpoint, every 4 MB, is four more.)"""


@runtime_checkable
class Laborious(Protocol):
    """A store that knows what it costs the disk of this machine."""

    def effort(self) -> Effort:
        """Return what it did since it was opened."""

    async def rows(self) -> int:
        """Return how many rows it has: keys as they are, and old versions of them."""


def written_by(thread: threading.Thread) -> int | None:
    """Return how many bytes a thread has written, as the kernel counts them."""
    try:
        text = Path(f"/proc/self/task/{thread.native_id}/io").read_text()
    except OSError:
        return None
    counts = dict(line.split(": ", 1) for line in text.splitlines())
    return int(counts["wchar"])
