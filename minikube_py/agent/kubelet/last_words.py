"""What a container says when it ends: its termination message file, or the end of its log.

Limits are upstream's: 4096 bytes for a container, and where the log stands in for the file its
last 80 lines or 2048 bytes, whichever is shorter.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.observed import MESSAGE_PATH, MESSAGE_POLICY, Observed

MESSAGE_BYTES_MAX = 4096
LOG_LINES_MAX = 80
LOG_BYTES_MAX = 2048
TAIL_BYTES = 64 << 10
"""How much of a log is looked at: 80 lines with their stamps, unless they are very long."""


def last_words(container: Container) -> str:
    """Return what an ended container left to say, "" for nothing."""
    path = container.annotations.get(MESSAGE_PATH, "")
    host = container.mounts.get(path, "") if path else ""
    text = _read(Path(host)) if host else ""
    policy = container.annotations.get(MESSAGE_POLICY)
    if not text and policy == "FallbackToLogsOnError" and container.exit_code:
        text = log_tail(Path(container.log_path))
    return text or container.message


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MESSAGE_BYTES_MAX).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Error on reading termination log {path}: {error.strerror}"


def log_tail(path: Path) -> str:
    """Return the end of a container's log without its stamps."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - TAIL_BYTES, 0))
            data = file.read(TAIL_BYTES)
    except OSError:
        return ""
    lines = deque(_texts(data.decode(errors="replace").splitlines(keepends=True)), LOG_LINES_MAX)
    return "".join(lines).encode()[-LOG_BYTES_MAX:].decode(errors="ignore")


def _texts(lines: Iterable[str]) -> Iterable[str]:
    """Yield what was printed, out of lines of the form `time stream F|P text`."""
    for line in lines:
        parts = line.split(" ", 3)
        if len(parts) == 4:
            yield parts[3] if parts[2] == "F" else parts[3].rstrip("\n")


class LastWords:
    """Remembers what was read: an ended container says nothing new."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def add_to(self, observed: Observed) -> Observed:
        """Return the observation with the messages of all ended containers."""
        alive = {container.id for container in observed.containers}
        self._known = {key: text for key, text in self._known.items() if key in alive}
        return replace(observed, containers=tuple(self._with(c) for c in observed.containers))

    def _with(self, container: Container) -> Container:
        if container.state != "exited":
            return container
        if container.id not in self._known:
            self._known[container.id] = last_words(container)
        return replace(container, message=self._known[container.id])
