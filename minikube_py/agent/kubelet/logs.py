"""Container logs: the runtime's log files, cut and followed as `kubectl logs` asks.

The form of a line is CRI's: `2026-11-22T07:15:11.668319613Z stdout F text`; P instead of F marks
a piece of a longer line, which goes on in the next line of that stream. Rules of what is shown
are those of upstream's `cri-client/pkg/logs`.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from minikube_py.api import times

CHUNK_BYTES = 256 * 1024
LINE_MAX = 1024 * 1024
"""A line without an end up to here is not of this format (the runtime cuts at 16 KiB)."""
RECHECK_SECONDS = 10.0
"""How often a followed container is looked at when neither its log nor the runtime says a word."""
STREAMS = {"All": ("stdout", "stderr"), "Stdout": ("stdout",), "Stderr": ("stderr",)}
_FRACTION = re.compile(rb"\.\d+|(?=Z|[+-]\d\d:\d\d$)")


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """What of a log is wanted (PodLogOptions)."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None
    streams: tuple[str, ...] = ("stdout", "stderr")


class LogLine(NamedTuple):
    """One line of a log file."""

    timestamp: bytes
    stream: str
    content: bytes
    """With its line end, where it is not a piece."""


def parse_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    """Read the query of a `/containerLogs` request.

    Raises:
        ValueError: a value is not of its type or out of range.

    """
    limit = query.get("limitBytes")
    since = None
    if ago := query.get("sinceSeconds"):
        since = now - timedelta(seconds=_at_least("sinceSeconds", ago, 1))
    if moment := query.get("sinceTime"):
        since = max(times.parse(moment), since or times.parse(moment))
    tail = query.get("tail") or query.get("tailLines") or "all"
    stream = query.get("stream") or "All"
    if stream not in STREAMS:
        raise ValueError(f"invalid stream type {stream!r}")
    return LogOptions(
        follow=_truth(query.get("follow", "")),
        timestamps=_truth(query.get("timestamps", "")),
        tail_lines=None if tail == "all" else _at_least("tailLines", tail, 0),
        limit_bytes=_at_least("limitBytes", limit, 1) if limit else None,
        since=since,
        streams=STREAMS[stream],
    )


def _truth(text: str) -> bool:
    """Read a boolean of a query: there without a value means true."""
    return text not in ("", "false", "0")


def _at_least(name: str, text: str, least: int) -> int:
    value = int(text)
    if value < least:
        raise ValueError(f"{name} must be at least {least}")
    return value


def parse_line(line: bytes) -> LogLine | None:
    """Take a line of a log file apart; None where it is not of the format."""
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    timestamp, stream, tags, content = parts
    if tags.split(b":")[0] == b"P":
        content = content.removesuffix(b"\n")
    return LogLine(timestamp, stream.decode(), content)


def fixed_width(timestamp: bytes) -> bytes:
    """Return the timestamp with all nine digits of its fraction."""
    match = _FRACTION.search(timestamp)
    if match is None:
        return timestamp
    digits = match.group()[1:].ljust(9, b"0")
    return timestamp[: match.start()] + b"." + digits + timestamp[match.end() :]


class LogFilter:
    """Turns lines of the file into what is shown; knows when the limit is reached."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._line_begins = True

    @property
    def exhausted(self) -> bool:
        """Whether nothing more will be shown."""
        return self._left is not None and self._left <= 0

    def show(self, raw: bytes) -> bytes:
        """Return what is shown of a line of the file."""
        line = parse_line(raw)
        if line is None or self.exhausted or line.stream not in self._options.streams:
            return b""
        if self._options.since is not None and _older(line.timestamp, self._options.since):
            return b""
        text = line.content
        if self._options.timestamps and self._line_begins:
            text = fixed_width(line.timestamp) + b" " + text
        self._line_begins = line.content.endswith(b"\n") or not line.content
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text


def _older(timestamp: bytes, since: datetime) -> bool:
    try:
        return times.parse(timestamp.decode("ascii", "replace")) < since
    except ValueError:
        return False


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Return where the last lines of a file begin; reads it from its end in blocks."""
    end = at = file.seek(0, os.SEEK_END)
    left = lines
    while at > 0:
        start = max(0, at - CHUNK_BYTES)
        file.seek(start)
        block = file.read(at - start)
        # The end of the last line is not the beginning of another.
        newline = block.rfind(b"\n", 0, len(block) - 1 if at == end else len(block))
        while newline >= 0:
            left -= 1
            if left <= 0:
                return end if lines == 0 else start + newline + 1
            newline = block.rfind(b"\n", 0, newline)
        at = start
    return end if lines == 0 else 0


class _Source:
    """The file that a log is read from; another takes its place when it is rotated."""

    def __init__(self, path: Path, tail_lines: int | None) -> None:
        self._path = path
        self._file = path.open("rb")
        self._file.seek(0 if tail_lines is None else tail_offset(self._file, tail_lines))
        self._rest = b""

    def close(self) -> None:
        self._file.close()

    def lines(self) -> list[bytes]:
        """Return the next complete lines; empty at the end of the file."""
        while True:
            chunk = self._file.read(CHUNK_BYTES)
            if not chunk:
                return []
            *complete, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LINE_MAX:
                self._rest = b""
            if complete:
                return [line + b"\n" for line in complete]

    def rest(self) -> list[bytes]:
        """Return the line whose end is not written."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def reopen(self) -> bool:
        """Go on with the new file where the old one was moved away; tell whether it was."""
        try:
            new = self._path.open("rb")
        except FileNotFoundError:
            return False
        if os.path.sameopenfile(new.fileno(), self._file.fileno()):
            new.close()
            return False
        self._file.close()
        self._file, self._rest = new, b""
        return True


class Follower(Protocol):
    """What tells of more to come in the log of one container."""

    def changes(self, folder: Path) -> AbstractContextManager[asyncio.Event]:
        """Return an event that is set when the folder or the container's state changes."""

    async def running(self) -> bool:
        """Tell whether the container runs; once it does not, its log is complete."""


async def read_log(
    path: Path, options: LogOptions, follower: Follower | None = None
) -> AsyncIterator[bytes]:
    """Yield what is shown of a log; with a follower until the container has ended.

    Raises:
        OSError: the file cannot be read.

    """
    shown = LogFilter(options)
    source = await asyncio.to_thread(_Source, path, options.tail_lines)
    batches = _all(source) if follower is None else _followed(path.parent, source, follower)
    try:
        async with contextlib.aclosing(batches):
            async for lines in batches:
                text = b"".join(map(shown.show, lines))
                if text:
                    yield text
                if shown.exhausted:
                    return
    finally:
        source.close()


async def _all(source: _Source) -> AsyncGenerator[list[bytes]]:
    """Yield what the file holds now."""
    while lines := await asyncio.to_thread(source.lines):
        yield lines
    yield source.rest()


async def _followed(
    folder: Path, source: _Source, follower: Follower
) -> AsyncGenerator[list[bytes]]:
    """Yield what is and comes, in this file and those that take its place."""
    alive = True
    with follower.changes(folder) as changed:
        while True:
            changed.clear()
            while lines := await asyncio.to_thread(source.lines):
                yield lines
            if await asyncio.to_thread(source.reopen):
                continue
            if not alive:
                yield source.rest()
                return
            # What was written before the end is read once more after this answer.
            alive = await follower.running()
            if alive:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await changed.wait()
