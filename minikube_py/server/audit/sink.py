"""The log file as a sink: a bounded queue, written by a thread a batch at a time.

In mode `batch` nobody waits for the disk: what does not fit the queue is dropped and counted. In
the blocking modes an answer waits until its events are written; the queue has no need of a bound
then, because the requests in flight have one.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from minikube_py.lib.clock import Clock
from minikube_py.server.audit.event import legacy_line, without_managed_fields
from minikube_py.server.audit.rotation import RotatingFile

log = logging.getLogger(__name__)
BATCH, BLOCKING, STRICT = "batch", "blocking", "blocking-strict"
MODES = (BATCH, BLOCKING, STRICT)
FORMATS = ("json", "legacy")
QUEUE_MAX = 10_000
"""Events of a batching sink that wait for the disk (upstream's `--audit-log-batch-buffer-size`)."""
GATHER_SECONDS = 0.05
"""How long events gather before a thread writes them."""
Entry = tuple[dict[str, Any], bool]
"""An event, and whether its managed fields are left out."""


class LogSink:
    """Writes events to a file; `run` must run for it."""

    def __init__(
        self, file: RotatingFile, clock: Clock, *, mode: str = BATCH, form: str = "json"
    ) -> None:
        self.mode = mode
        self.dropped = 0
        self.failed = 0
        """Events that could not be written."""
        self._file = file
        self._writing = threading.Lock()
        self._clock = clock
        self._encode = encode if form == "json" else encode_legacy
        self._queue: list[Entry] = []
        self._filled = asyncio.Event()
        self._busy = False
        self._waiters: list[asyncio.Future[None]] = []

    def put(self, entry: dict[str, Any], *, omit_managed_fields: bool) -> None:
        """Take in one event."""
        if self.mode == BATCH and len(self._queue) >= QUEUE_MAX:
            self.dropped += 1
            return
        self._queue.append((entry, omit_managed_fields))
        self._filled.set()

    @property
    def waits(self) -> bool:
        """Whether `written` has to wait: in a mode that does, while something is not written."""
        return self.mode != BATCH and bool(self._queue or self._busy)

    async def written(self) -> None:
        """Wait until all that was put is written, in a mode that waits."""
        if not self.waits:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._filled.set()
        await waiter

    async def run(self) -> None:
        """Write what is put; what is left is written at the end."""
        try:
            while True:
                await self._filled.wait()
                if self.mode == BATCH:
                    await self._clock.sleep(GATHER_SECONDS)
                self._filled.clear()
                batch, self._queue = self._queue, []
                waiters, self._waiters = self._waiters, []
                self._busy = True
                await self._write(batch, waiters)
                self._busy = False
        finally:
            if self._queue:
                self._append(self._queue, self._clock.now())
                self._queue = []
            with self._writing:
                self._file.close()

    async def _write(self, batch: Sequence[Entry], waiters: Sequence[asyncio.Future[None]]) -> None:
        error = await asyncio.to_thread(self._append, batch, self._clock.now())
        for waiter in waiters:
            if waiter.done():
                continue
            if error is not None and self.mode == STRICT:
                waiter.set_exception(error)
            else:
                waiter.set_result(None)

    def _append(self, batch: Sequence[Entry], now: datetime) -> OSError | None:
        """Write a batch, in a thread."""
        data = b"".join(self._encode(*entry) for entry in batch)
        with self._writing:
            try:
                self._file.write(data, now)
            except OSError as error:
                self.failed += len(batch)
                log.error("audit events are lost events=%d error=%s", len(batch), error)  # noqa: TRY400
                return error
        return None


def encode(entry: dict[str, Any], omit_managed_fields: bool) -> bytes:  # noqa: FBT001
    """Return an event as a line of JSON."""
    whole = _whole(entry, omit_managed_fields)
    try:
        return orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # bytes in a header that are no UTF-8, numbers of more than 64 bits
        return f"{json.dumps(whole)}\n".encode()


def encode_legacy(entry: dict[str, Any], _omit_managed_fields: bool) -> bytes:  # noqa: FBT001
    """Return an event as a line of the legacy format, which has no bodies."""
    return legacy_line(entry)


def _whole(entry: dict[str, Any], omit_managed_fields: bool) -> dict[str, Any]:  # noqa: FBT001
    """Return an event with its bodies as they are to be written."""
    bodies = {}
    for key in ("requestObject", "responseObject"):
        body: Any = entry.get(key)
        if callable(body):
            body = body()
        if body is not None:
            bodies[key] = without_managed_fields(body) if omit_managed_fields else body
    return {**entry, **bodies} if bodies else entry
