"""What clients of a store did and saw, as lines that outlive the process that wrote them.

A line tells that a call began, how it ended, or what a watch brought. Lines stand in the order in
which it happened: a process appends each with one `write`, so that what a killed process had told
is whole. A call that has no end was cut off: whether it counts nobody knows.
"""

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from minikube_py.datastore.kv import Event

Line = Mapping[str, Any]
Tell = Callable[[Line], None]
"""Takes each line in order."""


class Told:
    """Lines as they come, and how far each watch is."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._at: dict[str, int] = {}
        self._moved = asyncio.Event()

    def __call__(self, line: Line) -> None:
        """Take the next line."""
        self.lines.append(line)
        if "events" in line:
            self._at[line["watch"]] = line["events"][-1][2]
        elif "after" in line:
            self._at[line["watch"]] = line["after"]
        self._moved.set()

    async def reached(self, revision: int, *, watches: int) -> None:
        """Return once so many watches are at a revision."""
        while sum(at >= revision for at in self._at.values()) < watches:
            self._moved.clear()
            await self._moved.wait()


class Shown(NamedTuple):
    """A key as a read showed it."""

    revision: int
    value: str


@dataclass(frozen=True)
class Operation:
    """One call of a client, between two moments."""

    kind: str
    """create, update, delete or get"""
    key: str
    called: float
    returned: float
    """Infinite where it is not known how it ended."""
    value: str = ""
    """What was to be written; no two writes have the same."""
    expected: int = 0
    ended: str = "unknown"
    """done, refused or unknown"""
    revision: int = 0
    """Of the write; 0 where it is not known."""
    shown: Shown | None = None
    """What a get showed; None: no such key."""


@dataclass(frozen=True)
class Listing:
    """Everything below a prefix as of one revision."""

    called: float
    returned: float
    revision: int
    items: Mapping[str, Shown]


@dataclass(frozen=True)
class Stretch:
    """A watch from where it began to where it broke."""

    watch: str
    prefix: str
    after: int
    batches: Sequence[Sequence[Event]]
    compacted: int = 0
    """The oldest revision there is, where it ended because its place was gone."""


class History:
    """What can be read from lines."""

    def __init__(self, lines: Iterable[Line], moment: float = 0) -> None:
        self.operations: list[Operation] = []
        self.listings: list[Listing] = []
        self.stretches: list[Stretch] = []
        self.beats: list[int] = []
        """Revisions of heartbeats, which need not outlive a crash; their numbers do."""
        self._calls: dict[object, tuple[float, Line]] = {}
        self._watches: dict[str, Stretch] = {}
        for now, line in enumerate(lines):
            self._take(moment + now, line)
        self._finish()

    @property
    def acknowledged(self) -> int:
        """How many writes were told to have been done."""
        return sum(op.ended == "done" and op.kind != "get" for op in self.operations)

    def _take(self, now: float, line: Line) -> None:
        if "call" in line:
            self._calls[line["call"]] = (now, line)
        elif "end" in line:
            called, call = self._calls.pop(line["end"])
            self._end(called, now, call, line)
        elif "after" in line:
            self._break(line["watch"])
            self._watches[line["watch"]] = Stretch(line["watch"], line["prefix"], line["after"], [])
        elif "events" in line:
            batch = [Event(key, value.encode(), *more) for key, value, *more in line["events"]]
            watch = self._watches[line["watch"]]
            self._watches[line["watch"]] = replace(watch, batches=[*watch.batches, batch])
        elif "compacted" in line:
            self._break(line["watch"], line["compacted"])
        elif "beat" in line:
            self.beats.append(line["beat"])

    def _end(self, called: float, now: float, call: Line, line: Line) -> None:
        shown = {key: Shown(*item) for key, item in line.get("shown", {}).items()}
        if call["kind"] == "list":
            if line["how"] == "done":
                self.listings.append(Listing(called, now, line["revision"], shown))
            return
        operation = _operation(called, call)
        if line["how"] == "unknown":
            if operation.kind != "get":
                self.operations.append(operation)
            return
        seen = shown.get(operation.key)
        if operation.kind == "get":
            ended = replace(operation, returned=now, ended="done", shown=seen)
        else:
            ended = replace(
                operation, returned=now, ended=line["how"], revision=line.get("revision", 0)
            )
        self.operations.append(ended)
        if operation.kind != "get" and "shown" in line:  # a refusal that tells what stands there
            read = replace(operation, kind="get", value="", returned=now, ended="done", shown=seen)
            self.operations.append(read)

    def _break(self, watch: str, compacted: int = 0) -> None:
        stretch = self._watches.pop(watch, None)
        if stretch is not None:
            self.stretches.append(replace(stretch, compacted=compacted))

    def _finish(self) -> None:
        for called, call in self._calls.values():
            if call["kind"] not in ("list", "get"):
                self.operations.append(_operation(called, call))
        for watch in list(self._watches):
            self._break(watch)

    def settle(self, log: Sequence[Event]) -> None:
        """Forget writes of unknown end that are not in a log of everything: they never happened.

        The search for an order would find that out, too, after it tried them everywhere.
        """
        values = {event.value.decode() for event in log if not event.deleted}
        ended = set(_ended(log))
        self.operations = [
            op
            for op in self.operations
            if op.ended != "unknown"
            or op.value in values
            or (op.kind == "delete" and (not op.expected or (op.key, op.expected) in ended))
        ]

    @property
    def events(self) -> Iterator[Event]:
        """Everything that any watch brought."""
        for stretch in self.stretches:
            for batch in stretch.batches:
                yield from batch

    def newest(self) -> int:
        """Return the newest revision that anybody was told."""
        told = [operation.revision for operation in self.operations]
        told += [operation.shown.revision for operation in self.operations if operation.shown]
        told += [listing.revision for listing in self.listings]
        told += self.beats
        return max([*told, *(event.revision for event in self.events)], default=0)


def _ended(log: Iterable[Event]) -> Iterator[tuple[str, int]]:
    """Yield key and revision of what deletes ended."""
    last: dict[str, int] = {}
    for event in log:
        if event.deleted:
            yield event.key, last[event.key]
        last[event.key] = event.revision


def _operation(called: float, call: Line) -> Operation:
    value, expected = call.get("value", ""), call.get("expected", 0)
    return Operation(call["kind"], call["key"], called, math.inf, value=value, expected=expected)


def parsed(text: bytes) -> list[Line]:
    """Return the lines of a process, however it ended."""
    whole, _, _ = text.rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]
