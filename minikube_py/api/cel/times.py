"""Times and spans as Go reads and prints them, to the nanosecond."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.values import INT_MAX, INT_MIN, NANO, Duration, Timestamp

_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_UNITS: Final = {
    "ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": NANO, "m": 60 * NANO,
    "h": 3600 * NANO,
}  # fmt: skip
_PART: Final = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_MIN: Final = -62135596800
SECONDS_MAX: Final = 253402300799
_DIGITS_MAX: Final = 40


def timestamp(nanos: int) -> Timestamp:
    """Return the moment.

    Raises:
        CelEvaluationError: it is not in the years 1 to 9999.

    """
    if not SECONDS_MIN <= nanos // NANO <= SECONDS_MAX:
        raise CelEvaluationError("timestamp overflow")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    """Return the span.

    Raises:
        CelEvaluationError: it does not fit 64 bits.

    """
    if not INT_MIN <= nanos <= INT_MAX:
        raise CelEvaluationError("duration overflow")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """Parse an RFC 3339 time.

    Raises:
        CelEvaluationError: the text is none.

    """
    match = _TIMESTAMP.fullmatch(text)
    complaint = f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse'
    if match is None:
        raise CelEvaluationError(complaint)
    date, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}+00:00") - (
            zone_of(zone).utcoffset(None) or timedelta()
        )
    except (ValueError, OverflowError):
        raise CelEvaluationError(complaint) from None
    return timestamp(_seconds(moment) * NANO + int((fraction or "0").ljust(9, "0")))


def _seconds(moment: datetime) -> int:
    span = moment - _EPOCH
    return span.days * 86400 + span.seconds


def zone_of(name: str) -> tzinfo:
    """Return a zone by its name or its offset (`+05:30`, `02:00`).

    Raises:
        CelEvaluationError: there is no such zone.

    """
    match = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name, re.ASCII)
    try:
        if match:
            minutes = int(match[2]) * 60 + int(match[3])
            return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
        return UTC if name in {"Z", "UTC", ""} else ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise CelEvaluationError(f"unknown time zone {name}") from None


def to_datetime(moment: Timestamp, zone: str) -> datetime:
    """Return the calendar's view of a moment; nanoseconds are cut off."""
    at = _EPOCH + timedelta(seconds=moment.nanos // NANO)
    try:
        return at.astimezone(zone_of(zone))
    except OverflowError:
        raise CelEvaluationError("timestamp overflow") from None


def show_timestamp(moment: Timestamp) -> str:
    """Print a moment as RFC 3339 with as many digits as it needs."""
    at = _EPOCH + timedelta(seconds=moment.nanos // NANO)
    fraction = f"{moment.nanos % NANO:09}".rstrip("0")
    base = at.replace(tzinfo=None).isoformat()
    return f"{base}.{fraction}Z" if fraction else f"{base}Z"


def parse_duration(text: str) -> Duration:
    """Parse a span in Go's form (`1h30m`, `-1.5s`).

    Raises:
        CelEvaluationError: the text is none.

    """
    if text in {"0", "+0", "-0"}:
        return Duration(0)
    body = text.lstrip("+-")
    parts = list(_PART.finditer(body))
    if (
        len(text) - len(body) > 1
        or not parts
        or "".join(part[0] for part in parts) != body
        or any(not part[1] and not part[2] for part in parts)
    ):
        raise CelEvaluationError(f'time: invalid duration "{text}"')
    nanos = sum(map(_nanos, parts))
    return duration(-nanos if text[0] == "-" else nanos)


def _nanos(part: re.Match[str]) -> int:
    whole, fraction, unit = part[1][:_DIGITS_MAX], (part[2] or "")[:_DIGITS_MAX], _UNITS[part[3]]
    scale: int = 10 ** len(fraction)
    return int(whole or "0") * unit + int(fraction or "0") * unit // scale


def show_duration(span: Duration) -> str:
    """Print a span in seconds."""
    sign = "-" if span.nanos < 0 else ""
    whole, rest = divmod(abs(span.nanos), NANO)
    fraction = f"{rest:09}".rstrip("0")
    return f"{sign}{whole}.{fraction}s" if fraction else f"{sign}{whole}s"
