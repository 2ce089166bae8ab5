"""What a running server tells of its datastore: how large it is, what it holds, what it costs.

`kpy datastore stats` asks for all of it over the control socket; what costs nothing to know is on
the metrics page, beside what upstream has there (`apiserver_storage_size_bytes`,
`etcd_request_duration_seconds`, `apiserver_storage_objects`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.datastore.effort import Effort, Laborious
from minikube_py.datastore.history import history_of
from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import sqlite_path
from minikube_py.lib.clock import Clock
from minikube_py.lib.prometheus import Histogram, metric
from minikube_py.server.config import ServerConfig
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.measured import MeasuredBackend

KINDS_SHOWN = 10
DAY_SECONDS = 86_400.0


class DatastoreStats:
    """Knows what can be known of the datastore of a running server."""

    def __init__(
        self,
        config: ServerConfig,
        stored: Backend,
        measured: MeasuredBackend,
        cache: Cache,
        clock: Clock,
    ) -> None:
        self._config = config
        self._stored = stored
        self._measured = measured
        self._cache = cache
        self._clock = clock
        self._began, self._before = clock.monotonic(), self._effort()

    def _effort(self) -> Effort:
        return self._stored.effort() if isinstance(self._stored, Laborious) else Effort(None, 0)

    async def asked(
        self, call: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        """Return everything; the verb of the control socket."""
        del call, tell
        scheme = self._config.datastore_endpoint.partition("://")[0]
        kinds = sorted(self._cache.kinds(), key=lambda kind: -kind.bytes)
        return {
            "backend": scheme or "sqlite",
            "files": self._files(),
            "rows": await self._stored.rows() if isinstance(self._stored, Laborious) else None,
            "objects": sum(map(len, kinds)),
            "objectBytes": sum(kind.bytes for kind in kinds),
            "history": await self._history(),
            "effort": self._since_start(),
            "latencies": list(latencies(self._measured.seconds)),
            "kinds": [
                {"resource": kind.resource.group_resource, "count": len(kind), "bytes": kind.bytes}
                for kind in kinds[:KINDS_SHOWN]
                if len(kind)
            ],
        }

    def _files(self) -> dict[str, int]:
        """Return the sizes of the files of an embedded store."""
        path = sqlite_path(self._config.datastore_endpoint, self._config.data_dir)
        if path is None:
            return {}
        parts = {"file": path, "writeAheadLog": path.with_name(f"{path.name}-wal")}
        return {name: part.stat().st_size for name, part in parts.items() if part.exists()}

    async def _history(self) -> dict[str, Any]:
        history = history_of(self._stored)
        oldest = await history.oldest("/")
        return {
            "revision": await self._stored.revision(),
            "oldest": oldest,
            "oldestTime": await history.time_of(oldest) if oldest else 0.0,
            "mostBytes": self._config.history_retention_bytes,
            "bytes": await history.size(),
        }

    def _since_start(self) -> dict[str, Any]:
        seconds = max(self._clock.monotonic() - self._began, 1.0)
        now, before = self._effort(), self._before
        written = None
        if now.written_bytes is not None and before.written_bytes is not None:
            written = now.written_bytes - before.written_bytes
        commits = now.commits - before.commits
        return {
            "seconds": seconds,
            "writtenBytes": written,
            "writtenBytesADay": None if written is None else written * DAY_SECONDS / seconds,
            "commits": commits,
            "commitsADay": commits * DAY_SECONDS / seconds,
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        effort = self._effort()
        written = effort.written_bytes
        yield from metric(
            "kpy_datastore_written_bytes_total",
            "counter",
            "Bytes that the embedded datastore has written to its files.",
            () if written is None else (({}, written),),
        )
        yield from metric(
            "kpy_datastore_commits_total",
            "counter",
            "Durable transactions of the datastore.",
            (({}, effort.commits),),
        )


def latencies(
    seconds: Mapping[tuple[str, str], Histogram],
) -> Iterator[dict[str, Any]]:
    """Yield of each operation how long it takes, over all types."""
    for operation in sorted({operation for operation, _ in seconds}):
        found = [histogram for (name, _), histogram in seconds.items() if name == operation]
        counts = [sum(column) for column in zip(*(one.counts for one in found), strict=True)]
        bounds = found[0].bounds
        yield {
            "operation": operation,
            "count": sum(counts),
            "p50": quantile(bounds, counts, 0.5),
            "p99": quantile(bounds, counts, 0.99),
        }


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """Return the bound below which that part of all values lies; None beyond the last bound."""
    wanted, seen = part * sum(counts), 0
    for bound, count in zip(bounds, counts, strict=False):
        seen += count
        if seen >= wanted:
            return bound
    return None
