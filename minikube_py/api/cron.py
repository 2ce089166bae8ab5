"""Schedules of cron jobs: five fields, macros and `@every`, as upstream's cron library reads them.

The errors and the odd corners are those of robfig/cron v3's standard parser. Times are found on
the clock of a time zone: a schedule inside an hour that daylight saving skips does not run that
day, one inside an hour that repeats runs in both.
"""

import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from minikube_py.api import times

YEARS_MAX = 5
"""A schedule that has no time within so many years never runs."""


@dataclass(frozen=True)
class Bounds:
    """The values that a field of a schedule may have."""

    low: int
    high: int
    names: Mapping[str, int]


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MINUTE = Bounds(0, 59, {})
HOUR = Bounds(0, 23, {})
DAY = Bounds(1, 31, {})
MONTH = Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
WEEKDAY = Bounds(0, 6, {name: number for number, name in enumerate(_DAYS)})
_FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
_MACROS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class Values:
    """The values of one field, and whether it was written with a star."""

    allowed: frozenset[int]
    star: bool


@dataclass(frozen=True)
class Schedule:
    """Times at whole minutes."""

    minute: Values
    hour: Values
    day: Values
    month: Values
    weekday: Values
    zone: str = ""
    """The zone that the schedule itself names; "" means that of the asker."""

    def next(self, after: datetime, zone: str = "") -> datetime | None:
        """Return the first time after a moment, in UTC, or None where there is none."""
        moment = _Local(zoneinfo.ZoneInfo(self.zone or zone or "UTC"), int(after.timestamp()) + 1)
        limit = moment.wall.year + YEARS_MAX
        while moment.wall.year <= limit:
            if self._settle(moment):
                return datetime.fromtimestamp(moment.unix, UTC)
        return None

    def _settle(self, moment: "_Local") -> bool:
        """Move forward until every field fits; False where a field wrapped around."""
        return (
            self._settle_month(moment)
            and self._settle_day(moment)
            and self._settle_hour(moment)
            and self._settle_minute(moment)
        )

    def _settle_month(self, moment: "_Local") -> bool:
        while moment.wall.month not in self.month.allowed:
            wall = moment.wall
            year, month = (wall.year + 1, 1) if wall.month == 12 else (wall.year, wall.month + 1)
            moment.set_wall(datetime(year, month, 1))  # noqa: DTZ001 -- a wall clock has no zone
            if month == 1:
                return False
        return True

    def _settle_day(self, moment: "_Local") -> bool:
        while not self._fits_day(moment.wall):
            midnight = moment.wall.replace(hour=0, minute=0, second=0)
            moment.set_wall(midnight + timedelta(days=1))
            _move_to_midnight(moment)
            if moment.wall.day == 1:
                return False
        return True

    def _fits_day(self, wall: datetime) -> bool:
        day = wall.day in self.day.allowed
        weekday = wall.isoweekday() % 7 in self.weekday.allowed
        # With a star in either field both must fit, else one of them is enough.
        return (day and weekday) if self.day.star or self.weekday.star else (day or weekday)

    def _settle_hour(self, moment: "_Local") -> bool:
        while moment.wall.hour not in self.hour.allowed:
            moment.set_unix(moment.unix - moment.wall.minute * 60 - moment.wall.second + 3600)
            if moment.wall.hour == 0:
                return False
        return True

    def _settle_minute(self, moment: "_Local") -> bool:
        if moment.wall.second:
            moment.set_unix(moment.unix - moment.wall.second + 60)
            if moment.wall.minute == 0:
                return False
        while moment.wall.minute not in self.minute.allowed:
            moment.set_unix(moment.unix + 60)
            if moment.wall.minute == 0:
                return False
        return True


@dataclass(frozen=True)
class Every:
    """Times at a fixed distance from the last one."""

    seconds: int

    def next(self, after: datetime, _zone: str = "") -> datetime | None:
        """Return the time that far after a moment, at a whole second."""
        moment = after.astimezone(UTC).replace(microsecond=0)
        return moment + timedelta(seconds=self.seconds)


class _Local:
    """A moment, and what a wall clock of the zone shows then."""

    def __init__(self, zone: zoneinfo.ZoneInfo, unix: int) -> None:
        self._zone = zone
        self.set_unix(unix)

    def set_unix(self, unix: int) -> None:
        self.unix = unix
        self.wall = datetime.fromtimestamp(unix, self._zone).replace(tzinfo=None)

    def set_wall(self, wall: datetime) -> None:
        """Go to where the clock shows that; in a skipped hour, to just past the gap."""
        naive = int(wall.replace(tzinfo=UTC).timestamp())
        self.set_unix(naive - self._offset(naive - self._offset(naive)))

    def _offset(self, unix: int) -> int:
        offset = datetime.fromtimestamp(unix, self._zone).utcoffset()
        return int(offset.total_seconds()) if offset is not None else 0


def _move_to_midnight(moment: _Local) -> None:
    """Come as near to midnight as daylight saving lets."""
    hour = moment.wall.hour
    if hour > 12:
        moment.set_unix(moment.unix + (24 - hour) * 3600)
    elif hour:
        moment.set_unix(moment.unix - hour * 3600)


@lru_cache(maxsize=1024)
def parse(text: str) -> Schedule | Every:
    """Parse a schedule.

    Raises:
        ValueError: in upstream's words.

    """
    if not text:
        raise ValueError("empty spec string")
    zone, text = _split_zone(text)
    if text.startswith("@"):
        return _macro(text, zone)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        shown = f"[{' '.join(fields)}]"
        raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: {shown}")
    return _schedule(fields, zone)


def _schedule(fields: Sequence[str], zone: str) -> Schedule:
    minute, hour, day, month, weekday = map(_field, fields, _FIELDS)
    return Schedule(minute, hour, day, month, weekday, zone)


def _split_zone(text: str) -> tuple[str, str]:
    """Take a leading `TZ=` or `CRON_TZ=` apart."""
    if not text.startswith(("TZ=", "CRON_TZ=")):
        return "", text
    head, space, rest = text.partition(" ")
    zone = head.partition("=")[2]
    if not space:
        # Upstream's parser cuts the text at a space that is not there and recovers.
        raise ValueError("invalid schedule format: runtime error: slice bounds out of range [:-1]")
    if not is_zone(zone):
        raise ValueError(f"provided bad location {zone}: unknown time zone {zone}")
    return zone, rest.strip()


@lru_cache(maxsize=256)
def is_zone(name: str) -> bool:
    """Tell whether the time zone database knows the name."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _macro(text: str, zone: str) -> Schedule | Every:
    if text in _MACROS:
        return _schedule(_MACROS[text].split(), zone)
    if text.startswith("@every "):
        try:
            seconds = times.parse_duration(text.removeprefix("@every "))
        except ValueError as error:
            raise ValueError(f"failed to parse duration {text}: {error}") from None
        return Every(max(int(seconds), 1))
    raise ValueError(f"unrecognized descriptor: {text}")


def _field(text: str, bounds: Bounds) -> Values:
    """Parse a list of ranges."""
    allowed: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            values, starred = _range(part, bounds)
            allowed.update(values)
            star = star or starred
    return Values(frozenset(allowed), star)


def _range(text: str, bounds: Bounds) -> tuple[range, bool]:
    """Parse `5`, `1-5`, `*`, each perhaps with `/step`; tell whether it is a star."""
    base, *steps = text.split("/")
    first, *last = base.split("-")
    star = first in {"*", "?"}
    if star:
        low, high = bounds.low, bounds.high
    elif len(last) > 1:
        low = _number(first, bounds)
        raise ValueError(f"too many hyphens: {text}")
    else:
        low = _number(first, bounds)
        high = _number(last[0], bounds) if last else low
    step = 1
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    if steps:
        step = _integer(steps[0])
        if not last:
            high = bounds.high
        star = star and step <= 1
    _check_range(text, bounds, low, high, step)
    return range(low, high + 1, step), star


def _check_range(text: str, bounds: Bounds, low: int, high: int, step: int) -> None:
    if low < bounds.low:
        raise ValueError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise ValueError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise ValueError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")


def _number(text: str, bounds: Bounds) -> int:
    named = bounds.names.get(text.lower())
    return named if named is not None else _integer(text)


def _integer(text: str) -> int:
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    if len(digits) > 18:
        raise ValueError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range'
        )
    if text.startswith("-") and int(digits):
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(digits)
