"""The container runtime of a node for the length of a block: one that is there, or our containerd.

Ours has the images that come with the node before anybody asks for them. Where it dies while they
are imported it is started again at once, for each import would wait long for an answer; what is
still missing then follows in the background.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.containerd import Containerd, ContainerdConfig
from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.image_archives import ImageArchives, Imported
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.pids import gone
from minikube_py.lib.tasks import Nursery, StoppedError, restarting, unless

log = logging.getLogger(__name__)
Report = Callable[[str], None]
STOP_SECONDS = 5.0


class OwnRuntime(NamedTuple):
    """A containerd that is ours, and the images that come with the node."""

    containerd: Containerd
    archives: ImageArchives
    is_complete: bool
    """Whether all images are there."""

    def start(self, nursery: Nursery, clock: Clock) -> None:
        """Look after it from now on."""
        nursery.start("containerd", restarting("containerd", self.containerd.supervise))
        if not self.is_complete:
            nursery.start("image archives", self.archives.try_again(clock))


@contextlib.asynccontextmanager
async def foreign(endpoint: str) -> AsyncIterator[tuple[Connection, None]]:
    """Have the runtime that listens somewhere; raises StartError."""
    connection = Connection(endpoint)
    try:
        await Runtime(connection).version()
        yield connection, None
    except CriError as error:
        raise StartError(
            f"no container runtime answers at {endpoint}: {error}; start it, or leave out"
            " --container-runtime-endpoint to have containerd run"
        ) from error
    finally:
        await connection.aclose()


@contextlib.asynccontextmanager
async def own(
    config: ContainerdConfig, images: Path, report: Report
) -> AsyncIterator[tuple[Connection, OwnRuntime]]:
    """Have a containerd with the images of a folder; raises StartError."""
    containerd = Containerd(config)
    await containerd.start()
    report(f"containerd runs with pid {containerd.pid}")
    connection = Connection(containerd.endpoint)
    archives = ImageArchives(
        make_dir(images), config.pause_image, config.socket, Images(connection)
    )
    try:
        imported = await _imported(containerd, archives)
        if imported.failed:
            await containerd.start()  # where it has died
            imported = await _imported(containerd, archives)
        if imported.done:
            report(f"{imported.done} image archives imported")
        yield connection, OwnRuntime(containerd, archives, is_complete=not imported.failed)
    finally:
        await connection.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await containerd.stop_if_idle()


async def _imported(containerd: Containerd, archives: ImageArchives) -> Imported:
    """Import what is missing, unless containerd dies meanwhile."""
    died = asyncio.Event()
    async with Nursery("import") as nursery:
        nursery.start("containerd", _tell_end(containerd.pid, died))
        try:
            return await unless(died, "import", archives.import_all())
        except StoppedError:
            log.warning("containerd died during an import pid=%d", containerd.pid)
            return Imported(done=0, failed=1)


async def _tell_end(pid: int, ended: asyncio.Event) -> None:
    await gone(pid)
    ended.set()
