"""`python -m tests.bench.blocking FILE server ...`: kpy on a loop that knows what holds it.

The CPU time of the loop's thread is taken around every callback, so that other work on the machine
does not count. SIGUSR2 writes the longest ones to FILE as JSON and begins anew. A thread looks
where a long one is, and puts that beside it. The loop is asyncio's own: uvloop's cannot be asked.
"""

import asyncio
import gc
import heapq
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import uvloop

LONG_SECONDS = 0.010
"""What holds the loop longer is looked at."""
LOOK_SECONDS = 0.004
KEPT = 20
FRAMES = 14


class Measured:
    """The longest callbacks so far."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.longest: list[tuple[float, int, str, str]] = []
        self.count = 0
        self.began = 0.0
        self.where = ""
        self.thread = threading.get_ident()
        self._collecting = 0.0

    def took(self, seconds: float, what: str) -> None:
        """Take note of one callback."""
        self.count += 1
        entry = (seconds, self.count, what, self.where)
        if len(self.longest) < KEPT:
            heapq.heappush(self.longest, entry)
        elif seconds > self.longest[0][0]:
            heapq.heapreplace(self.longest, entry)

    def collected(self, phase: str, info: dict[str, int]) -> None:
        """Note when the garbage collector was at work within a callback."""
        if threading.get_ident() != self.thread:
            return
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            took = (time.thread_time() - self._collecting) * 1e3
            self.where += f"[gc {info['generation']}: {took:.1f} ms] "

    def look(self) -> None:
        """Look again and again where the loop's thread is, while something takes long."""
        while True:
            time.sleep(LOOK_SECONDS)
            if self.began and time.perf_counter() - self.began > LONG_SECONDS:
                frame = sys._current_frames().get(self.thread)
                self.where = self.where or _place(frame)

    def write(self, *_: Any) -> None:
        """Write the longest, and begin anew."""
        found = [
            {"ms": seconds * 1e3, "what": what, "where": where}
            for seconds, _, what, where in sorted(self.longest, reverse=True)
        ]
        self.longest, count, self.count = [], self.count, 0
        part = self.file.with_suffix(".part")
        part.write_bytes(orjson.dumps({"callbacks": count, "longest": found}))
        part.rename(self.file)


def _place(frame: FrameType | None) -> str:
    lines = traceback.extract_stack(frame)[-FRAMES:]
    return " < ".join(f"{Path(f.filename).stem}:{f.lineno} {f.name}" for f in reversed(lines))


def main() -> None:
    """Run kpy with the arguments after the file."""
    measured = Measured(Path(sys.argv[1]))
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        measured.where = ""
        measured.began = time.perf_counter()
        before = time.thread_time()
        run(handle)
        took = time.thread_time() - before
        measured.began = 0.0
        if took > 0.001:
            measured.took(took, _what(handle))

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    uvloop.new_event_loop = asyncio.SelectorEventLoop  # type: ignore[assignment]
    gc.callbacks.append(measured.collected)
    signal.signal(signal.SIGUSR2, measured.write)
    threading.Thread(target=measured.look, daemon=True).start()
    from minikube_py.cli.main import main as kpy  # noqa: PLC0415

    sys.argv = ["kpy", *sys.argv[2:]]
    kpy()


def _what(handle: asyncio.Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"task {task.get_name()}"
    return getattr(callback, "__qualname__", repr(callback))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
