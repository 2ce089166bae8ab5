"""Keeps the logs of containers from filling the disk: moved aside, compressed, and dropped in turn.

    0.log                          what the container writes to
    0.log.20260131-080000          moved aside last; a reader may still be in it
    0.log.20260130-070000.gz       older ones

Limits are the kubelet's defaults (containerLogMaxSize, containerLogMaxFiles). A file is renamed and
the runtime told to open a new one, so nothing that is written meanwhile is lost. Where kpy died in
between there is no file of that name, and the runtime is told then, as upstream's container log
manager does.
"""

import asyncio
import gzip
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container, Runtime
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
PERIOD_SECONDS = 10.0


class LogLimits(NamedTuple):
    """How much is kept of what a container writes."""

    bytes_max: int = 10 << 20
    files_max: int = 5
    """With the one that is written to."""


USUAL = LogLimits()


def too_many(rotated: Sequence[str], files_max: int = USUAL.files_max) -> list[str]:
    """Return which files that were moved aside are to go: all but the newest, pure."""
    newest_first = sorted(rotated, reverse=True)
    return newest_first[files_max - 1 :]


class LogRotation:
    """Looks at the logs of running containers now and then."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        running: Callable[[], Iterable[Container]],
        limits: LogLimits = USUAL,
    ) -> None:
        """Take what returns the containers that run, with the paths of their logs."""
        self._limits = limits
        self._runtime = runtime
        self._clock = clock
        self._running = running

    async def run(self) -> None:
        """Rotate for ever."""
        while True:
            await self._clock.sleep(PERIOD_SECONDS)
            for container in list(self._running()):
                if container.log_path:
                    await self._look_at(container)

    async def _look_at(self, container: Container) -> None:
        try:
            if _size(container.log_path) > self._limits.bytes_max:
                await self.rotate(container)
        except FileNotFoundError:
            await self._reopen(container)
        except OSError as error:
            log.warning("log not rotated path=%s error=%s", container.log_path, error)

    async def _reopen(self, container: Container) -> None:
        """Have a log again of which only what was moved aside is there."""
        try:
            await self._runtime.reopen_log(container.id)
        except CriError as error:
            log.warning("log not opened again path=%s error=%s", container.log_path, error)

    async def rotate(self, container: Container) -> None:
        """Move the log of a container aside; a runtime that refuses leaves it as it was."""
        path = Path(container.log_path)
        aside = Path(f"{path}.{self._clock.now():%Y%m%d-%H%M%S}")
        await asyncio.to_thread(_make_room, path, self._limits.files_max)
        _move(path, aside)
        try:
            await self._runtime.reopen_log(container.id)
        except CriError as error:
            _move(aside, path)
            log.warning("log not rotated path=%s error=%s", path, error)
        else:
            log.info("log rotated path=%s", path)


def _size(path: str) -> int:
    return Path(path).stat().st_size


def _move(source: Path, target: Path) -> None:
    source.replace(target)


def _make_room(path: Path, files_max: int) -> None:
    """Compress what was moved aside before, and drop what is too old."""
    for old in path.parent.glob(f"{path.name}.*"):
        if old.suffix == ".tmp":  # a compression that was cut short
            old.unlink()
        elif old.suffix != ".gz":
            _compress(old)
    names = [old.name for old in path.parent.glob(f"{path.name}.*")]
    # One more is about to come.
    for name in too_many([*names, f"{path.name}.9"], files_max):
        (path.parent / name).unlink(missing_ok=True)


def _compress(path: Path) -> None:
    temporary = Path(f"{path}.tmp")
    with path.open("rb") as source, gzip.open(temporary, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    temporary.replace(f"{path}.gz")
    path.unlink()
