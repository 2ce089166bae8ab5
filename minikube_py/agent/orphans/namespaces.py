"""Network namespaces that nobody owns: those that a containerd was making when it died.

containerd makes the namespace of a sandbox first and writes down where it is after that. If it is
killed in between, no call of the CRI ever removes the namespace. So containerd is told to keep them
in its own folder; what lay there before it was started anew and is in none of its books afterwards
belongs to nobody.
"""

import contextlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path

from minikube_py.agent.cri.records import network_namespaces
from minikube_py.agent.kubelet.volumes.mounts import unmount

log = logging.getLogger(__name__)
FOLDER = "io.containerd.grpc.v1.cri/netns"
"""Below containerd's `state`, where netns_mounts_under_state_dir is set."""


def listed(state: Path) -> frozenset[Path]:
    """Return the network namespaces that there are."""
    folder = state / FOLDER
    return frozenset(folder.iterdir()) if folder.is_dir() else frozenset()


def orphans(before: Collection[Path], specs: Iterable[bytes]) -> list[Path]:
    """Return those of before that no sandbox or container has: pure; raises ValueError."""
    owned = {path for spec in specs for path in network_namespaces(spec)} if before else set()
    return sorted(set(before) - owned)


def remove(path: Path) -> None:
    """Remove a network namespace; its end of the cable goes with it."""
    with contextlib.suppress(OSError):  # nothing is mounted there after a power cut
        unmount(path)
    path.unlink(missing_ok=True)
    log.info("removed a network namespace that no sandbox has path=%s", path)
