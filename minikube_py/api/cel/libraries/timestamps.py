"""The parts of times and spans, in UTC or a given zone."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from minikube_py.api.cel import times
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import DURATION, INT, STRING, TIMESTAMP
from minikube_py.api.cel.values import NANO, Duration, Timestamp

_PARTS: Final[dict[str, Callable[[datetime], int]]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDate": lambda at: at.day,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
}
_UNITS: Final = {"getHours": 3600 * NANO, "getMinutes": 60 * NANO, "getSeconds": NANO}
_MILLI: Final = NANO // 1000


def _part(read: Callable[[datetime], int]) -> Callable[..., Any]:
    return lambda moment, zone="UTC": read(times.to_datetime(moment, zone))


def _whole(unit: int) -> Callable[[Duration], int]:
    def count(span: Duration) -> int:
        return abs(span.nanos) // unit * (-1 if span.nanos < 0 else 1)

    return count


def _milliseconds(moment: Timestamp, _zone: str = "") -> int:
    return moment.nanos % NANO // _MILLI


OVERLOADS: Final[tuple[Overload, ...]] = (
    *(member(name, (TIMESTAMP,), INT, _part(read)) for name, read in _PARTS.items()),
    *(member(name, (TIMESTAMP, STRING), INT, _part(read)) for name, read in _PARTS.items()),
    *(member(name, (DURATION,), INT, _whole(unit)) for name, unit in _UNITS.items()),
    member("getMilliseconds", (TIMESTAMP,), INT, _milliseconds),
    member("getMilliseconds", (TIMESTAMP, STRING), INT, _milliseconds),
    member("getMilliseconds", (DURATION,), INT, _whole(_MILLI)),
)
