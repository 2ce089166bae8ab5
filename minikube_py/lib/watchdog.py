"""Tells what holds the event loop, which nothing may do for a tenth of a second.

While there is work (`poke`) a timer of the loop falls due again and again; how late it comes is how
long everybody waited. Where it is overdue a thread looks what the loop is at. Being idle costs
nothing: without a `poke` no timer is set, and the thread sleeps.
"""

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from minikube_py.lib.prometheus import Histogram, histograms

log = logging.getLogger(__name__)
BEAT_SECONDS: Final = 0.05
LIMIT_SECONDS: Final = 0.1
"""What is reported; a hold of less than this and a beat may begin and end between two looks."""
BOUNDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FRAMES_MAX: Final = 6
"""Innermost frames that a report names."""
NAME_MAX: Final = 200
NameOf = Callable[["asyncio.Task[Any] | None"], str]


class Watchdog:
    """Watches the loop that runs where it is made."""

    def __init__(self, name_of: NameOf = lambda task: task.get_name() if task else "") -> None:
        """Make one; `name_of` says what a task is about."""
        self._name_of = name_of
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._cpu_clock = time.pthread_getcpuclockid(self._thread_id)
        self.late = Histogram(BOUNDS)
        """How late the timer came, in seconds."""
        self._poked = False
        self._due = 0.0
        """When the timer is due; 0 where none is set."""
        self._cpu = 0.0
        """What the loop's thread had used when it was set."""
        self._timer: asyncio.TimerHandle | None = None
        self._seen = ""
        self._armed = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._collecting = 0.0

    def poke(self) -> None:
        """Tell that the loop has something to do."""
        self._poked = True
        if not self._due and not self._closed.is_set():
            self._arm()

    @property
    def armed(self) -> bool:
        """Whether a timer is set."""
        return bool(self._due)

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()
        self._armed.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        yield from histograms(
            "kpy_event_loop_late_seconds",
            "How late a timer of the event loop came, while there was work.",
            ((({}, self.late),) if self.late.count else ()),
        )

    # In the loop

    def _arm(self) -> None:
        self._poked = False
        self._cpu = time.clock_gettime(self._cpu_clock)
        self._due = time.monotonic() + BEAT_SECONDS
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._armed.set()
        if self._thread is None:
            gc.callbacks.append(self._collected)
            self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        late = max(time.monotonic() - self._due, 0.0)
        used = time.clock_gettime(self._cpu_clock) - self._cpu
        self.late.observe(late)
        seen, self._seen, self._due = self._seen, "", 0.0
        if late > LIMIT_SECONDS and used > LIMIT_SECONDS:  # else others had the processor
            log.warning("the event loop was held seconds=%.2f cpu=%.2f %s", late, used, seen)
        if self._poked:
            self._arm()
        else:
            self._armed.clear()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        """Note a long pass of the garbage collector, which no frame shows."""
        if threading.get_ident() != self._thread_id:
            return
        if phase == "start":
            self._collecting = time.perf_counter()
        elif time.perf_counter() - self._collecting > LIMIT_SECONDS:
            task = self._about(asyncio.current_task(self._loop))
            self._seen = f"{task} in='garbage collector, generation {info['generation']}'"

    # In the thread

    def _look(self) -> None:
        while self._armed.wait() and not self._closed.is_set():
            due = self._due
            self._closed.wait(max(due + LIMIT_SECONDS - time.monotonic(), 0.0))
            if due and self._due == due:
                self._seen = self._seen or self._place()
                self._closed.wait(LIMIT_SECONDS)

    def _place(self) -> str:
        """Return what the loop is at: the task, and where in it."""
        task = self._about(asyncio.current_task(self._loop))
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 -- there is no other way
        places: list[str] = []
        while frame is not None and len(places) < FRAMES_MAX:
            code = frame.f_code
            places.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
            frame = frame.f_back
        return f"{task} in={' < '.join(places)!r}"

    def _about(self, task: "asyncio.Task[Any] | None") -> str:
        return f"task={self._name_of(task)[:NAME_MAX]!r}"
