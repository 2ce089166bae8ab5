"""Changes of files, told by the kernel: one inotify instance for a whole process.

A machine has few instances (128 for a user), so all who wait for files share one. What changed is
not said: whoever waits looks again, which also makes lost events harmless.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_IGNORED, IN_Q_OVERFLOW = 0x100, 0x200, 0x8000, 0x4000
FOLDER_MASK = IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
READ_BYTES = 64 * 1024
EVENT = struct.Struct("iIII")


class Inotify:
    """Wakes those who wait for changes in folders; belongs to one event loop."""

    def __init__(self) -> None:
        """Open the instance.

        Raises:
            OSError: there are no more instances.

        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise _last_error("inotify_init1")
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._handle, self._read)

    @contextlib.contextmanager
    def folder(self, path: Path, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """Watch what is in a folder: the event is set at every change; who waits clears it.

        `event` lets one wait for several folders.

        Raises:
            OSError: there is no such folder, or no more can be watched.

        """
        watch = self._libc.inotify_add_watch(self._handle, os.fsencode(path), FOLDER_MASK)
        if watch < 0:
            raise _last_error(str(path))
        changed = event or asyncio.Event()
        events = self._waiting.setdefault(watch, set())
        events.add(changed)
        try:
            yield changed
        finally:
            events.discard(changed)
            # The kernel has one watch for a folder, however many asked for it.
            if not events and self._waiting.get(watch) is events:
                del self._waiting[watch]
                self._libc.inotify_rm_watch(self._handle, watch)

    def close(self) -> None:
        """End the instance."""
        self._loop.remove_reader(self._handle)
        os.close(self._handle)

    def _read(self) -> None:
        try:
            data = os.read(self._handle, READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, mask, _, length = EVENT.unpack_from(data, at)
            at += EVENT.size + length
            self._wake(watch, mask)

    def _wake(self, watch: int, mask: int) -> None:
        if mask & IN_Q_OVERFLOW:
            for events in self._waiting.values():
                for event in events:
                    event.set()
            return
        for event in self._waiting.get(watch, ()):
            event.set()
        if mask & IN_IGNORED:
            # The folder is gone and its number may be given out again.
            self._waiting.pop(watch, None)


async def follow(folders: Iterable[Path], look: Callable[[], Awaitable[None]]) -> None:
    """Look at once, and again after every change in these folders; for ever.

    Raises:
        OSError: there is no such folder, or no more can be watched.

    """
    notify, changed = Inotify(), asyncio.Event()
    try:
        with contextlib.ExitStack() as stack:
            for folder in sorted(set(folders)):
                stack.enter_context(notify.folder(folder, changed))
            while True:
                changed.clear()  # before the look: what changes during it is looked at, too
                await look()
                await changed.wait()
    finally:
        notify.close()


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
