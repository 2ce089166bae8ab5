"""A datastore that says how long it takes, under the names that upstream has for etcd."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from minikube_py.datastore.kv import (
    Backend,
    Change,
    Event,
    KeyValue,
    Page,
    UnavailableError,
    Unchanged,
)
from minikube_py.lib.prometheus import Histogram, histograms, metric
from minikube_py.server.registry.encoding import PREFIX

SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
SLOW_SECONDS = 1.0
"""A call that takes longer is told of in the log; a healthy disk needs some milliseconds."""
TELL_SECONDS = 60.0
"""How often a slow datastore is told of at most."""
UNDOTTED_GROUPS = frozenset({"apps", "autoscaling", "batch", "policy"})
"""Groups whose names have no dot; no core plural is called like one."""

log = logging.getLogger(__name__)


class MeasuredBackend:
    """Hands everything on to another datastore and takes the time."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._failed: Counter[tuple[str, str]] = Counter()
        self._told = float("-inf")

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        with _Call(self, "get", key):
            return await self.inner.get(key)

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix in order."""
        with _Call(self, "list", prefix):
            return await self.inner.list(prefix, after=after, limit=limit, revision=revision)

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision."""
        with _Call(self, "create", key):
            return await self.inner.create(key, value, lease=lease)

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`, return the new one."""
        with _Call(self, "update", key):
            return await self.inner.update(key, value, revision=revision, lease=lease)

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key, return the revision of the delete."""
        with _Call(self, "delete", key):
            return await self.inner.delete(key, revision=revision)

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        """Change several keys together or not at all; return the first revision."""
        with _Call(self, "txn", changes[0].key):
            return await self.inner.write(changes, unchanged=unchanged)

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision."""
        return self.inner.watch(prefix, after=after)

    async def revision(self) -> int:
        """Return the newest revision."""
        return await self.inner.revision()

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision."""
        await self.inner.compact(revision)

    async def close(self) -> None:
        """Finish what was accepted and release everything."""
        await self.inner.close()

    def count(self, operation: str, key: str, took: float, *, failed: bool) -> None:
        """Note a call that has ended; `failed` where the store could not be used."""
        series = operation, type_of(key)
        histogram = self._seconds.get(series)
        if histogram is None:
            histogram = self._seconds[series] = Histogram(SECONDS)
        histogram.observe(took)
        if failed:
            self._failed[series] += 1
        if took > SLOW_SECONDS:
            self._tell(operation, took)

    def _tell(self, operation: str, took: float) -> None:
        now = time.perf_counter()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            text = (
                "the datastore is slow: its disk, or the way to it, is busy operation=%s took=%.1fs"
            )
            log.warning(text, operation, took)

    @property
    def seconds(self) -> Mapping[tuple[str, str], Histogram]:
        """How long each operation takes, by operation and type."""
        return self._seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        series = [
            ({"operation": operation, "type": kind}, histogram)
            for (operation, kind), histogram in sorted(self._seconds.items())
        ]
        yield from histograms(
            "etcd_request_duration_seconds",
            "Etcd request latency in seconds for each operation and object type.",
            series,
        )
        yield from metric(
            "etcd_requests_total",
            "counter",
            "Etcd request counts for each operation and object type.",
            ((labels, histogram.count) for labels, histogram in series),
        )

        yield from metric(
            "etcd_request_errors_total",
            "counter",
            "Etcd failed request counts for each operation and object type.",
            (
                ({"operation": operation, "type": kind}, count)
                for (operation, kind), count in sorted(self._failed.items())
            ),
        )


class _Call:
    """One call, from its begin to its end."""

    __slots__ = ("_began", "_key", "_operation", "_store")

    def __init__(self, store: MeasuredBackend, operation: str, key: str) -> None:
        self._store = store
        self._operation = operation
        self._key = key

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        took = time.perf_counter() - self._began
        failed = isinstance(error, UnavailableError)
        self._store.count(self._operation, self._key, took, failed=failed)


def type_of(key: str) -> str:
    """Return the resource and group of a key, as metrics name them: `deployments.apps`."""
    first, _, rest = key[len(PREFIX) :].partition("/")
    if "." not in first and first not in UNDOTTED_GROUPS:
        return first
    return f"{rest.partition('/')[0]}.{first}"
