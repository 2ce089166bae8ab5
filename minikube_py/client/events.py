"""Events that parts of the system record about objects, without ever waiting for the server.

Recording puts into a bounded buffer; one task writes. What is told again becomes a series: the
same Event object with a higher count. More than ten different messages for one reason within ten
minutes are combined into one, and an object that is talked of too much is rate limited. The rules
and numbers are those of client-go's event correlator.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from minikube_py.api import times
from minikube_py.api.core import EVENTS
from minikube_py.api.errors import NotFoundError, ServiceUnavailableError, StatusError
from minikube_py.api.object import Key, Obj
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
EventKind = Literal["Normal", "Warning"]
BUFFER_MAX = 1000
CACHE_MAX = 4096
SIMILAR_MAX = 10
SIMILAR_SECONDS = 600.0
BURST = 25
REFILL_SECONDS = 300.0
TRIES = 5
BACKOFF = Backoff(first_seconds=1.0, max_seconds=10.0)
COMBINED = "(combined from similar events): "

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """A map of the most recently used entries."""

    def __init__(self, entries_max: int = CACHE_MAX) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._max = entries_max

    def get(self, key: K) -> V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._max:
            self._entries.popitem(last=False)
        return value


@dataclass
class _Similar:
    """The different messages of one reason about one object."""

    last: float
    messages: set[str] = field(default_factory=set)


@dataclass
class _Bucket:
    """How many more events an object may have."""

    tokens: float
    filled: float


@dataclass
class Series:
    """One Event object and how often it was told."""

    name: str
    first: str
    count: int = 0


@dataclass(frozen=True)
class Told:
    """One thing that was recorded."""

    involved: Obj
    type: EventKind
    reason: str
    message: str
    moment: datetime
    component: str = ""

    @property
    def about(self) -> tuple[str, ...]:
        """What makes an object the same in the eyes of the correlator."""
        names = ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")
        return tuple(self.involved.get(name, "") for name in names)


class Correlator:
    """Decides under which Event a thing is told, or that it is not told at all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._similar: _Recent[tuple[str, ...], _Similar] = _Recent()
        self._series: _Recent[tuple[str, ...], Series] = _Recent()
        self._buckets: _Recent[tuple[str, ...], _Bucket] = _Recent()
        self._stamp = 0

    def correlate(self, told: Told) -> tuple[str, Series] | None:
        """Return the message and the series, whose count is raised; None drops the event."""
        if not self._may_tell(told.about):
            return None
        kind = (*told.about, told.type, told.reason)
        message, key = told.message, (*kind, told.message)
        if self._is_combined(kind, message):
            message, key = COMBINED + message, kind
        series = self._series.get(key)
        if series is None:
            series = self._series.put(key, self.fresh(told))
        series.count += 1
        return message, series

    def fresh(self, told: Told) -> Series:
        """Return a new series, named by the object and the time in nanoseconds."""
        nanos = int(told.moment.timestamp() * 1_000_000) * 1000
        self._stamp = max(nanos, self._stamp + 1)
        name = f"{told.involved.get('name', '')}.{self._stamp:x}"
        return Series(name, times.format_seconds(told.moment))

    def _is_combined(self, kind: tuple[str, ...], message: str) -> bool:
        now = self._clock.monotonic()
        similar = self._similar.get(kind)
        if similar is None or now - similar.last > SIMILAR_SECONDS:
            similar = self._similar.put(kind, _Similar(now))
        similar.last = now
        if message not in similar.messages and len(similar.messages) >= SIMILAR_MAX:
            return True
        similar.messages.add(message)
        return False

    def _may_tell(self, about: tuple[str, ...]) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.get(about) or self._buckets.put(about, _Bucket(BURST, now))
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.filled) / REFILL_SECONDS)
        bucket.filled = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class Recorder:
    """Records events in the name of one component; `run` writes them."""

    def __init__(self, client: Client, component: str, clock: Clock, *, host: str = "") -> None:
        self.component = component
        self.host = host
        self.dropped = 0
        self._client = client
        self._clock = clock
        self._correlator = Correlator(clock)
        self._told: deque[Told] = deque()
        self._wake = asyncio.Event()

    def record(
        self,
        obj: Obj,
        type_: EventKind,
        reason: str,
        message: str,
        *,
        field_path: str = "",
        component: str = "",
    ) -> None:
        """Tell something of an object; dropped where the buffer is full.

        `component` is who tells it, where that is not the recorder's own.
        """
        if len(self._told) >= BUFFER_MAX:
            self.dropped += 1
            return
        involved = reference(obj, field_path)
        teller = component or self.component
        self._told.append(Told(involved, type_, reason, message, self._clock.now(), teller))
        self._wake.set()

    async def run(self) -> None:
        """Write what was recorded; never ends by itself."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._told:
                await self._tell(self._told.popleft())

    async def _tell(self, told: Told) -> None:
        correlated = self._correlator.correlate(told)
        if correlated is None:
            self.dropped += 1
            return
        message, series = correlated
        for attempt in range(1, TRIES + 1):
            try:
                await self._write(told, message, series)
            except ServiceUnavailableError:
                await self._clock.sleep(BACKOFF.wait_seconds(attempt))
            except StatusError as error:
                # Nothing depends on events: a namespace may be terminating, a right may lack.
                log.debug("event refused reason=%s error=%s", told.reason, error)
                return
            else:
                return
        self.dropped += 1

    async def _write(self, told: Told, message: str, series: Series) -> None:
        namespace = told.involved.get("namespace") or "default"
        now = times.format_seconds(told.moment)
        if series.count > 1:
            patch = {"count": series.count, "lastTimestamp": now, "message": message}
            try:
                await self._client.patch(EVENTS, series.name, patch, namespace)
            except NotFoundError:  # it outlived its time in the store
                fresh = self._correlator.fresh(told)
                series.name, series.first, series.count = fresh.name, fresh.first, 1
            else:
                return
        await self._client.create(EVENTS, self._event(told, message, Key(namespace, series.name)))

    def _event(self, told: Told, message: str, key: Key) -> dict[str, Any]:
        now = times.format_seconds(told.moment)
        source = {"component": told.component}
        if self.host:
            source["host"] = self.host
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "involvedObject": told.involved,
            "reason": told.reason,
            "message": message,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": told.type,
            "eventTime": None,
            "reportingComponent": told.component,
            "reportingInstance": self.host,
        }


def reference(obj: Obj, field_path: str = "") -> dict[str, Any]:
    """Return the ObjectReference to an object."""
    metadata = obj["metadata"]
    found = {
        "kind": obj.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "uid": metadata.get("uid"),
        "apiVersion": obj.get("apiVersion"),
        "resourceVersion": metadata.get("resourceVersion"),
        "fieldPath": field_path,
    }
    return {name: value for name, value in found.items() if value}
