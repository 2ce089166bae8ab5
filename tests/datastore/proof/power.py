"""Power cuts: what is on a disk when the machine stops at some point of what a process wrote.

`power.c` writes down what a process does to its files. Played back, everything that was synced is
on the disk, and of what was not, anything may be: nothing, all of it, some writes without those
before them, or parts of a write, for a disk writes sectors. One run of a process has thousands of
points at which the power may go, and each can be tried.
"""

import random
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("power.c")
HEADER = struct.Struct("<IIQQ")
FAULTS = struct.Struct("<iiii")


class Kind(IntEnum):
    """What was done to a file."""

    OPENED = 1
    WRITTEN = 2
    TRUNCATED = 3
    SYNCED = 4
    REMOVED = 5


class Deed(NamedTuple):
    """One thing done to a file."""

    kind: Kind
    name: str
    offset: int = 0
    """Where it was written; the length for a truncation."""
    data: bytes = b""


def build(folder: Path) -> Path:
    """Compile the library that writes down; return it."""
    library = folder / "power.so"
    command = ["gcc", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-o", library, SOURCE]
    subprocess.run([*command, "-lpthread", "-ldl"], check=True)
    return library


def environment(
    library: Path, folder: Path, journal: Path, faults: Path | None = None
) -> dict[str, str]:
    """Return what a process is started with, so that its deeds in a folder are written down."""
    named = {"KPY_POWER_FAULTS": str(faults)} if faults else {}
    watched = {"KPY_POWER_FOLDER": str(folder), "KPY_POWER_JOURNAL": str(journal)}
    return {"LD_PRELOAD": str(library), **watched, **named}


def set_faults(
    path: Path,
    *,
    sync_milliseconds: int = 0,
    write_error: int = 0,
    sync_error: int = 0,
    calls_left: int = 0,
) -> None:
    """Say what goes wrong from now on, in the process that was started with this file."""
    packed = FAULTS.pack(sync_milliseconds, write_error, sync_error, calls_left)
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(packed)


def deeds(journal: Path) -> Iterator[Deed]:
    """Yield what was written down, the last of it only where it is whole."""
    text = memoryview(journal.read_bytes())
    at = 0
    while at + HEADER.size <= len(text):
        kind, name_length, offset, length = HEADER.unpack_from(text, at)
        start = at + HEADER.size + name_length
        at = start + (length if kind == Kind.WRITTEN else 0)
        if at > len(text):
            return
        name = bytes(text[start - name_length : start]).decode()
        yield Deed(Kind(kind), name, offset, bytes(text[start:at]))


Fate = Callable[[Deed], Iterable[Deed]]
"""What of a deed that was not synced reaches the disk."""


class Disk:
    """The files of a folder, and what of them a power cut may take."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self.waiting: dict[str, list[Deed]] = {}

    def play(self, deed: Deed) -> None:
        """Go on by one deed."""
        waiting = self.waiting.setdefault(deed.name, [])
        if deed.kind is Kind.OPENED:
            self.synced.setdefault(deed.name, bytearray())
        elif deed.kind is Kind.REMOVED:
            self.synced.pop(deed.name, None)
            waiting.clear()
        elif deed.kind is Kind.SYNCED:
            for before in waiting:
                _apply(self.synced[deed.name], before)
            waiting.clear()
        else:
            waiting.append(deed)

    def cut(self, fate: Fate) -> Mapping[str, bytes]:
        """Return what is in the files when the power goes now."""
        files = {name: bytearray(content) for name, content in self.synced.items()}
        for name, waiting in self.waiting.items():
            for deed in waiting:
                for left in fate(deed):
                    _apply(files[name], left)
        return {name: bytes(content) for name, content in files.items()}


def _apply(content: bytearray, deed: Deed) -> None:
    end = deed.offset + len(deed.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if deed.kind is Kind.TRUNCATED:
        del content[deed.offset :]
    else:
        content[deed.offset : end] = deed.data


def none(deed: Deed) -> Iterable[Deed]:
    """Lose what was not synced."""
    return ()


def everything(deed: Deed) -> Iterable[Deed]:
    """Keep what was not synced."""
    return (deed,)


def some(choose: random.Random) -> Fate:
    """Keep some deeds and not others, in whatever order they were done."""
    return lambda deed: (deed,) if choose.random() < 0.5 else ()


def torn(choose: random.Random, sector: int) -> Fate:
    """Keep some sectors of each write."""

    def sectors(deed: Deed) -> Iterator[Deed]:
        if deed.kind is Kind.TRUNCATED:
            yield from (deed,) if choose.random() < 0.5 else ()
        for start in range(0, len(deed.data), sector):
            if choose.random() < 0.5:
                part = deed.data[start : start + sector]
                yield Deed(deed.kind, deed.name, deed.offset + start, part)

    return sectors


def fates(choose: random.Random) -> tuple[Fate, ...]:
    """Return all that may become of what was not synced."""
    return none, everything, some(choose), torn(choose, 512), torn(choose, 4096)


def lay_out(files: Mapping[str, bytes], folder: Path) -> None:
    """Put files into an empty folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
