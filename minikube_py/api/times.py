"""Times in objects are RFC 3339 text in UTC: seconds in most fields, microseconds in a few.

A time stays text from end to end; it is parsed only to compare or to compute. The canonical forms
and the errors are those of apimachinery's `Time` and `MicroTime`.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

from minikube_py.lib.clock import Clock

LAYOUT = "2006-01-02T15:04:05Z07:00"
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_PARTS = (
    (re.compile(r"\d{4}"), "2006"),
    (re.compile("-"), "-"),
    (re.compile(r"\d\d"), "01"),
    (re.compile("-"), "-"),
    (re.compile(r"\d\d"), "02"),
    (re.compile("T"), "T"),
    (re.compile(r"\d\d?"), "15"),
    (re.compile(":"), ":"),
    (re.compile(r"\d\d"), "04"),
    (re.compile(":"), ":"),
    (re.compile(r"\d\d(?:[.,]\d+)?"), "05"),
    (re.compile(r"Z|[+-]\d\d:\d\d"), "Z07:00"),
)
"""The pieces of LAYOUT in order: what each looks like and how errors name it."""


SPAN_SECONDS_MAX = 100 * 365 * 86400
"""Nobody sees the end of a longer time, and calendars have one."""


def span(seconds: float) -> timedelta:
    """Return a length of time of some seconds, a hundred years at most.

    Fields of int64 hold more than any calendar has.
    """
    return timedelta(seconds=min(seconds, SPAN_SECONDS_MAX))


def parse(text: str) -> datetime:
    """Parse an RFC 3339 time of any precision; what is finer than a microsecond is cut off.

    Raises:
        ValueError: in the words of Go's time package.

    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(_complaint(text))
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second),
            int((fraction or "0")[:6].ljust(6, "0")),
            _zone(zone),
        ).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{text}": {_range(error)} out of range') from None


def _zone(zone: str) -> timezone:
    if zone == "Z":
        return UTC
    delta = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return timezone(-delta if zone[0] == "-" else delta)


def _range(error: Exception) -> str:
    """Return which part of a time Python found out of range."""
    # "day is out of range for month" names two of them.
    parts = ("day is", "month", "hour", "minute", "second")
    return next((part for part in parts if part in str(error)), "day").removesuffix(" is")


def _complaint(text: str) -> str:
    """Say at which piece of the layout a text goes wrong."""
    rest = text
    for pattern, element in _PARTS:
        match = pattern.match(rest)
        if match is None:
            return f'parsing time "{text}" as "{LAYOUT}": cannot parse "{rest}" as "{element}"'
        rest = rest[match.end() :]
    return f'parsing time "{text}": extra text: "{rest}"'


def format_seconds(moment: datetime) -> str:
    """Return a time as `Time` fields have it: `2026-01-31T08:00:00Z`."""
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{moment.isoformat()[:19]}Z"  # strftime takes five times as long


def format_micros(moment: datetime) -> str:
    """Return a time as `MicroTime` fields have it: `2026-01-31T08:00:00.000000Z`."""
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"


def now_string(clock: Clock) -> str:
    """Return the present time for a `Time` field."""
    return format_seconds(clock.now())


def now_micros(clock: Clock) -> str:
    """Return the present time for a `MicroTime` field."""
    return format_micros(clock.now())


def canonical(text: str) -> str:
    """Return what the server stores for a `Time` field; raises ValueError."""
    if len(text) == 20 and text[19] == "Z":
        parse(text)
        return text
    return format_seconds(parse(text))


def canonical_micros(text: str) -> str:
    """Return what the server stores for a `MicroTime` field; raises ValueError."""
    return format_micros(parse(text))


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one time to another, negative where they are the other way round."""
    return (parse(later) - parse(earlier)).total_seconds()


_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION_PART = re.compile(r"(\d*)(?:\.(\d*))?([^\d.]*)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Go writes them, such as `1h30m` or `1.5s`.

    Raises:
        ValueError: in the words of Go's time package.

    """
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = 0.0
    while rest:
        match = _DURATION_PART.match(rest)
        if match is None or not (match[1] or match[2]):
            raise ValueError(f'time: invalid duration "{text}"')
        seconds += float(f"{match[1] or 0}.{match[2] or 0}") * _unit(match[3], text)
        rest = rest[match.end() :]
    return -seconds if text.startswith("-") else seconds


def _unit(unit: str, text: str) -> float:
    if not unit:
        raise ValueError(f'time: missing unit in duration "{text}"')
    if unit not in _UNITS:
        raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
    return _UNITS[unit]


def format_duration(nanoseconds: int) -> str:
    """Return a duration as Go writes it: `0s`, `250ms`, `15.1s`, `1m0s`."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("\u00b5s", 1000), ("ns", 1)):
            if rest >= size:
                return f"{sign}{_decimal(rest, size)}{unit}"
        return "0s"
    minutes, left = divmod(rest, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(left, 1_000_000_000)}s"


def _decimal(amount: int, unit: int) -> str:
    whole, part = divmod(amount, unit)
    if not part:
        return str(whole)
    return f"{whole}.{part:0{len(str(unit)) - 1}d}".rstrip("0")
