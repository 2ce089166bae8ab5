"""Logs are lines of an event and its fields: `I1122 20:57:01.123456 kubelet] pod started pod=a/b`.

The head of a line is klog's, so that the habits and tools of Kubernetes operators work.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from minikube_py.lib.errors import StartError

LEVELS = ("debug", "info", "warning", "error")
_LETTERS = {"DEBUG": "D", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


class LineFormatter(logging.Formatter):
    """Writes level letter, UTC time, the module below the package, and the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, a traceback below it where there is one."""
        at = datetime.fromtimestamp(record.created, UTC)
        module = record.name.removeprefix("minikube_py.")
        letter = _LETTERS.get(record.levelname, "I")
        line = f"{letter}{at:%m%d %H:%M:%S.%f} {module}] {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send what is at least as grave as `level` to the stream (default: stderr).

    Libraries log their arguments when debugging, secrets of the cluster among them: what they say
    below a warning is dropped at every level.
    """
    if level not in LEVELS:
        raise StartError(f"--log-level {level!r} cannot be used; pass one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for other in ("asyncio", "aiohttp", "aiosqlite", "grpc", "pyroute2", "sqlalchemy"):
        logging.getLogger(other).setLevel(max(logging.WARNING, logging.getLogger().level))
