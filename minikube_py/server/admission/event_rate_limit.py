"""So many events a second and no more: by server, namespace, user or source. An option.

A limit is a bucket of tokens for each key: it holds `burst` of them and gets `qps` new ones a
second. The buckets least used are dropped when there are too many.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api.core import EVENTS
from minikube_py.api.errors import TooManyRequestsError
from minikube_py.api.events import EVENTS_V1
from minikube_py.api.object import Obj, get
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.server.attributes import Admission, AdmissionPlugin

CACHE_SIZE: Final = 4096
_PLACE: Final = "EventRateLimit configuration"
_SOURCE_AND_OBJECT: Final = (
    "source.component",
    "source.host",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
)


def _source_and_object(admission: Admission) -> str:
    event = admission.obj or {}
    if admission.resource.storage is not None:
        event = admission.resource.storage.to_storage(event)
    return "".join(str(get(event, path, "")) for path in _SOURCE_AND_OBJECT)


KEYS: Final[Mapping[str, Callable[[Admission], str]]] = {
    "Server": lambda _: "",
    "Namespace": lambda admission: admission.namespace,
    "User": lambda admission: admission.user.name,
    "SourceAndObject": _source_and_object,
}
"""What each type of limit counts by."""


@dataclass(frozen=True)
class Limit:
    """How many events a second, and how many at once."""

    type: str
    qps: int
    burst: int
    cache_size: int = CACHE_SIZE


class Buckets:
    """The tokens of each key of one limit."""

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens and when they were counted, least used first."""

    def take(self, key: str) -> bool:
        """Take a token; False where there is none."""
        now = self._clock.monotonic()
        level, counted = self._levels.pop(key, (float(self.limit.burst), now))
        level = min(self.limit.burst, level + (now - counted) * self.limit.qps)
        allowed = level >= 1
        self._levels[key] = (level - 1 if allowed else level, now)
        if len(self._levels) > self.limit.cache_size:
            self._levels.popitem(last=False)
        return allowed


class EventRateLimit(AdmissionPlugin):
    """Refuses events beyond the limits."""

    name = "EventRateLimit"
    resources = (EVENTS, EVENTS_V1)

    def __init__(self, limits: Sequence[Limit], clock: Clock) -> None:
        self._buckets = [Buckets(limit, clock) for limit in limits]

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Count an event against all limits; refuse it where one is reached."""
        if admission.resource not in (EVENTS, EVENTS_V1):
            return ()
        if admission.operation not in ("CREATE", "UPDATE"):
            return ()
        reached = ""
        for buckets in self._buckets:
            kind = buckets.limit.type
            key = KEYS[kind](admission)
            if not buckets.take(key):
                reached = f"limit reached on type {kind} for key {key}"
        if reached:
            raise TooManyRequestsError(reached, retry_after_seconds=1)
        return ()


def limits_of(document: Obj | None) -> tuple[Limit, ...]:
    """Return the limits of a Configuration.

    Raises:
        StartError: there is none, or it says something impossible.

    """
    given: Any = (document or {}).get("limits")
    if not isinstance(given, list) or not given:
        raise StartError(f"{_PLACE}: limits must not be empty; without limits leave the plugin out")
    return tuple(_limits(given))


def _limits(given: Sequence[Any]) -> Iterator[Limit]:
    for index, one in enumerate(given):
        place = f"{_PLACE}: limits[{index}]"
        if not isinstance(one, dict) or one.get("type") not in KEYS:
            raise StartError(f"{place}.type must be one of {', '.join(KEYS)}")
        numbers = {name: one.get(name, 0) for name in ("qps", "burst", "cacheSize")}
        for name, number in numbers.items():
            least = 0 if name == "cacheSize" else 1
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise StartError(f"{place}.{name} must be {'positive' if least else 'a number'}")
        size = numbers["cacheSize"] or CACHE_SIZE
        yield Limit(one["type"], numbers["qps"], numbers["burst"], size)
