"""systemd-logind, who is asked to wait while pods end, and who announces that the machine goes.

A process that holds a delay lock is waited for, at most as long as logind's own limit says; the
limit is raised by a file beside its configuration where it is shorter than the pods may take
(org.freedesktop.login1(5), logind.conf(5)), as upstream's kubelet does.
"""

import signal
from collections.abc import AsyncIterator
from math import ceil
from pathlib import Path

from minikube_py.lib.dbus import Bus
from minikube_py.lib.dbus_wire import DbusError
from minikube_py.lib.fsutil import write_atomic

MANAGER = "org.freedesktop.login1.Manager"
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", MANAGER)
PROPERTIES = (*LOGIND[:2], "org.freedesktop.DBus.Properties")
SYSTEMD = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)
DROP_IN = Path("/etc/systemd/logind.conf.d/99-kpy.conf")
"""`kpy reset` removes it."""


class Logind:
    """logind on a bus."""

    def __init__(self, bus: Bus, drop_in: Path = DROP_IN) -> None:
        self._bus = bus
        self._drop_in = drop_in

    async def follow(self) -> None:
        """Have announcements sent here; raises DbusError."""
        await self._bus.match(type="signal", interface=MANAGER, member="PrepareForShutdown")

    async def inhibit(self) -> int:
        """Return a lock, a file descriptor: until it is closed the machine waits for us."""
        why = "Kubelet needs time to handle node shutdown"
        answer = await self._bus.call(
            LOGIND, "Inhibit", "ssss", "shutdown", "kubelet", why, "delay"
        )
        if not answer.fds:
            raise DbusError("logind gave no lock")
        return answer.fds[0]

    async def allow(self, seconds: float) -> None:
        """See that logind waits for so long; raises DbusError."""
        if await self._delay_seconds() >= seconds:
            return
        text = f"# kpy: pods may take so long to end\n[Login]\nInhibitDelayMaxSec={ceil(seconds)}\n"
        try:
            self._drop_in.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._drop_in, text.encode(), 0o644)
        except OSError as error:
            raise DbusError(f"{self._drop_in} cannot be written: {error.strerror}") from None
        unit = "systemd-logind.service"
        await self._bus.call(SYSTEMD, "KillUnit", "ssi", unit, "all", int(signal.SIGHUP))
        if (found := await self._delay_seconds()) < seconds:
            raise DbusError(
                "node shutdown manager was unable to update logind InhibitDelayMaxSec to"
                f" {seconds:g}s (ShutdownGracePeriod), current value of InhibitDelayMaxSec"
                f" ({found:g}s) is less than requested ShutdownGracePeriod"
            )

    async def _delay_seconds(self) -> float:
        answer = await self._bus.call(PROPERTIES, "Get", "ss", MANAGER, "InhibitDelayMaxUSec")
        return float(answer.values[0]) / 1e6

    async def announcements(self) -> AsyncIterator[bool]:
        """Yield True when the machine is about to go down, False when that was called off."""
        while (message := await self._bus.signals.get()) is not None:
            if message.fields.get("member") == "PrepareForShutdown" and message.body:
                yield bool(message.body[0])
