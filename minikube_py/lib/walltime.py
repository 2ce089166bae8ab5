"""Waiting for a time of day: the kernel wakes who waits, also when the clock is set.

A sleep counts seconds; a machine that wakes up in 1970 and is told the time an hour later would
sleep for decades past the moment that it waited for. A timer of the wall clock ends at that moment
and, with `TFD_TIMER_CANCEL_ON_SET`, at every jump (timerfd_create(2)).
"""

import asyncio
import contextlib
import ctypes
import os
from datetime import UTC, datetime

CLOCK_REALTIME = 0
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
COUNTER_BYTES = 8
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


async def reached_or_set(moment: datetime) -> None:
    """Wait until the wall clock shows this time, or is set to another one.

    Raises:
        OSError: the kernel has no such timers.

    """
    handle = _armed(moment)
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, woken.set)
    try:
        await woken.wait()
    finally:
        loop.remove_reader(handle)
        with contextlib.suppress(OSError):  # ECANCELED says that the clock was set
            os.read(handle, COUNTER_BYTES)
        os.close(handle)


def _armed(moment: datetime) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    handle: int = libc.timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)
    if handle < 0:
        raise _last_error("timerfd_create")
    # A zero time would switch the timer off instead of ending it at once.
    value = _Time(max(int(min(moment, LATEST).timestamp()), 0), 1)
    flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    if libc.timerfd_settime(handle, flags, ctypes.byref(_Timer(_Time(0, 0), value)), None) < 0:
        error = _last_error("timerfd_settime")
        os.close(handle)
        raise error
    return handle


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
