"""What the long-running commands share: the event loop, signals, phases, an end within bounds."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import click

from minikube_py.lib.notify import notify
from minikube_py.lib.tasks import StoppedError, unless

log = logging.getLogger(__name__)
STOP_SECONDS_MAX = 9.0
"""A stop that takes longer is cut off: what was acknowledged is on disk, and pods run on."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Phases:
    """Prints what a start has reached, with the seconds since it began."""

    def __init__(self, echo: Callable[[str], Any] = click.echo) -> None:
        self._started = time.monotonic()
        self._echo = echo

    def __call__(self, text: str) -> None:
        """Print one phase, and tell systemd."""
        self._echo(f"[{time.monotonic() - self._started:6.2f}s] {text}")
        notify(f"STATUS={text}")


def run(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program until it ends, or is told to end by SIGTERM or SIGINT.

    It is told by cancellation, so that whatever it opened is closed on the way out. A second
    signal ends the process at once.
    """
    import uvloop  # noqa: PLC0415 -- only commands that serve need it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_stopped(name, main))


async def _until_stopped(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, _stop, loop, stop)
    with contextlib.suppress(StoppedError):
        await unless(stop, name, main())


def _stop(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Begin to stop; from now on the signals do what they do by themselves."""
    stop.set()
    notify("STOPPING=1")
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
    loop.call_later(STOP_SECONDS_MAX, _give_up)


def _give_up() -> None:
    log.error("stop took too long, ended at once seconds=%d", STOP_SECONDS_MAX)
    logging.shutdown()
    os._exit(0)
