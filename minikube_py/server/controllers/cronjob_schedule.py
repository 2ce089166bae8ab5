"""When a cron job was due last and is due next, from its schedule and what has run already.

The most recent time that is due is the only one that counts: times before it that were missed are
missed. It is found without walking over all of them, so a cron job that slept for years costs no
more than one that slept for a minute.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from minikube_py.api import cron, times
from minikube_py.api.object import Obj, get

MISSED_MAX = 100
"""More missed times than this look like a wrong clock, and are told of."""
EARLIEST, LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Runs that are noted to have been before or after that are taken as of then: anybody may write a
status, and calendars end."""
SLACK_SECONDS = 0.1
"""A timer that fires early would find nothing to do; upstream adds as much."""


@dataclass(frozen=True)
class Due:
    """What the clock says of a schedule."""

    time: datetime | None
    """The most recent time that has come and has not run; None where there is none."""
    missed: int
    """About how many times have come since the last run."""


@dataclass(frozen=True)
class Times:
    """A schedule on the clock of a zone."""

    schedule: cron.Schedule | cron.Every
    zone: str = ""

    def next(self, after: datetime) -> datetime | None:
        """Return the first time after a moment."""
        return self.schedule.next(after, self.zone)

    def last(self, first: datetime, now: datetime) -> datetime:
        """Return the last time up to now; `first` is one that has come."""
        if isinstance(self.schedule, cron.Every):
            gap = timedelta(seconds=self.schedule.seconds)
            return first + (now - first) // gap * gap
        return self._halved(first, now)

    def _halved(self, low: datetime, now: datetime) -> datetime:
        high = now
        while (following := self.next(low)) is not None and following <= now:
            middle = low + (high - low) / 2
            found = self.next(middle)
            if found is not None and found <= now:
                low = found
            else:
                low, high = following, middle
        return low


def times_of(cronjob: Obj) -> Times:
    """Return the times of a cron job.

    Raises:
        ValueError: the schedule cannot be parsed.

    """
    return Times(cron.parse(cronjob["spec"]["schedule"]), cronjob["spec"].get("timeZone") or "")


def start_of(cronjob: Obj) -> datetime:
    """Return the moment after which times count: the last run, or the creation."""
    last = get(cronjob, "status.lastScheduleTime")
    found = times.parse(last or cronjob["metadata"]["creationTimestamp"])
    return min(max(found, EARLIEST), LATEST)


def due(cronjob: Obj, schedule: Times, now: datetime) -> Due:
    """Return what is due; a starting deadline leaves out what is older."""
    start = start_of(cronjob)
    deadline = cronjob["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        start = max(start, now - times.span(deadline))
    return _due_since(start, schedule, now)


def _due_since(start: datetime, schedule: Times, now: datetime) -> Due:
    first = schedule.next(start)
    if first is None or first > now:
        return Due(None, 0)
    second = schedule.next(first)
    if second is None or second > now:
        return Due(first, 1)
    return Due(schedule.last(first, now), int((now - first) / (second - first)) + 1)


def seconds_to_next(cronjob: Obj, schedule: Times, now: datetime) -> float | None:
    """Return how long it is to the next time, None where there is none."""
    start = start_of(cronjob)
    following = schedule.next(_due_since(start, schedule, now).time or start)
    if following is None:
        return None
    return max((following - now).total_seconds(), 0.0) + SLACK_SECONDS
