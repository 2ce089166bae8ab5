"""The reset itself: pods are ended in order, then what is left is removed, then it is looked again.

The order matters: the runtime takes its pods apart best by itself, and only what it leaves is
removed by hand. The folders of pods tell which logs and groups are ours, so files go last.
"""

import asyncio
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.containerd import Containerd, ContainerdConfig
from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.network.cni import find_plugins
from minikube_py.agent.reset.traces import KINDS
from minikube_py.lib.errors import StartError
from minikube_py.lib.tasks import together

log = logging.getLogger(__name__)
ORDERLY_SECONDS = 60.0
"""What the runtime has to take its pods apart."""


class Trace(NamedTuple):
    """One thing that was found."""

    kind: str
    name: str
    trouble: str = ""
    """Why it could not be removed, "" where it was."""


def find(data_dir: Path) -> Iterator[Trace]:
    """Yield all traces of a node; those behind others (logs behind pods) are found too."""
    for kind in KINDS:
        yield from (Trace(kind.name, name) for name in kind.find(data_dir))


async def end_pods(data_dir: Path, pause_image: str) -> None:
    """Let the runtime end its pods and take their networks apart, as far as it can."""
    folder = data_dir / "agent" / "containerd"
    if not (folder / "config.toml").exists():
        return
    config = ContainerdConfig(
        folder=folder,
        pause_image=pause_image,
        cni_conf_dir=data_dir / "agent" / "cni" / "net.d",
        cni_bin_dir=find_plugins(),
    )
    containerd = Containerd(config)
    connection = Connection(f"unix://{config.socket}")
    try:
        async with asyncio.timeout(ORDERLY_SECONDS):
            await containerd.start()
            runtime = Runtime(connection)
            sandboxes = await runtime.list_sandboxes({})
            await together(_end(runtime, sandbox.id) for sandbox in sandboxes)
    except (StartError, CriError, TimeoutError, OSError) as error:
        log.warning("pods are ended by force, the runtime does not: %s", error)
    finally:
        await connection.aclose()
        await containerd.stop()


async def _end(runtime: Runtime, sandbox_id: str) -> None:
    await runtime.stop_sandbox(sandbox_id)
    await runtime.remove_sandbox(sandbox_id)


def remove_all(data_dir: Path, told: Callable[[Trace], None]) -> None:
    """Remove what is there, kind by kind, and tell of each thing."""
    for kind in KINDS:
        for name in kind.find(data_dir):
            trouble = ""
            try:
                kind.remove(name)
            except (OSError, subprocess.SubprocessError) as error:
                trouble = str(error)
            told(Trace(kind.name, name, trouble))
