"""A file that is set aside when it is full; of the older ones only so many, and so old, are kept.

The names are upstream's: `audit.log`, and `audit-2026-01-31T08-00-00.000.log` for those set aside.
All of it blocks: it runs in a thread.
"""

import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from minikube_py.lib.fsutil import PRIVATE, PRIVATE_DIR

STDOUT = "-"
MEGABYTE = 1 << 20
_STAMP = re.compile(r"-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})")


class RotatingFile:
    """Appends; 0 for a bound is none, but for the size, which is 100 MB then."""

    def __init__(
        self, path: str, *, megabytes_max: int = 100, days_max: int = 0, backups_max: int = 0
    ) -> None:
        self.path = path
        self._bytes_max = (megabytes_max or 100) * MEGABYTE
        self._days_max = days_max
        self._backups_max = backups_max
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, data: bytes, now: datetime) -> None:
        """Append whole lines; raises OSError."""
        if self.path == STDOUT:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if self._file is None:
            self._open()
            self._discard(now)
        if self._size and self._size + len(data) > self._bytes_max:
            self._rotate(now)
        if self._file is not None:
            self._file.write(data)
            self._size += len(data)

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self) -> None:
        Path(self.path).parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self.path, flags, PRIVATE), "ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size

    def _rotate(self, now: datetime) -> None:
        self.close()
        path = Path(self.path)
        stamp = now.astimezone(UTC).isoformat(timespec="milliseconds")[:23].replace(":", "-")
        path.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
        self._open()
        self._discard(now)

    def _discard(self, now: datetime) -> None:
        """Remove files that are too many or too old."""
        backups = sorted(self.backups(), reverse=True)
        oldest = now.astimezone(UTC) - timedelta(days=self._days_max)
        for place, (made, path) in enumerate(backups):
            too_many = self._backups_max and place >= self._backups_max
            if too_many or (self._days_max and made < oldest):
                path.unlink(missing_ok=True)

    def backups(self) -> list[tuple[datetime, Path]]:
        """Return the files that were set aside, and when."""
        path = Path(self.path)
        found = []
        for other in path.parent.glob(f"{path.stem}-*{path.suffix}"):
            match = _STAMP.fullmatch(other.name[len(path.stem) : -len(path.suffix) or None])
            if match:
                made = datetime.strptime(match[1], "%Y-%m-%dT%H-%M-%S.%f").replace(tzinfo=UTC)
                found.append((made, other))
        return found
