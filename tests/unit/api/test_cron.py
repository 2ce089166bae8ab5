from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import cron

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata"]
)


def piece(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )


SCHEDULES = st.tuples(piece(0, 59), piece(0, 23), piece(1, 28), piece(1, 12), piece(0, 6)).map(
    " ".join
)


@given(SCHEDULES, MOMENTS, ZONES)
def test_the_next_time_is_later_and_fits_every_field(text: str, after: datetime, zone: str) -> None:
    schedule = cron.parse(text)
    assert isinstance(schedule, cron.Schedule)
    found = schedule.next(after, zone)
    assert found is not None
    assert found > after
    wall = found.astimezone(ZoneInfo(zone))
    assert wall.second == wall.microsecond == 0
    assert wall.minute in schedule.minute.allowed
    assert wall.hour in schedule.hour.allowed
    assert wall.month in schedule.month.allowed


@given(SCHEDULES, MOMENTS)
def test_no_fitting_minute_is_skipped(text: str, after: datetime) -> None:
    schedule = cron.parse(text)
    assert isinstance(schedule, cron.Schedule)
    found = schedule.next(after)
    assert found is not None
    minute = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(120):
        if minute >= found:
            break
        assert schedule.next(minute - timedelta(seconds=1)) == found
        minute += timedelta(minutes=7)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("schedule", "after", "want"),
    [
        ("0 0 13 * 5", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("@weekly", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@every 90m", "2026-01-01T00:00:00", "2026-01-01T01:30:00"),
        ("@every 1ms", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
        ("0 9-17/4 * jan mon", "2026-01-01T00:00:00", "2026-01-05T09:00:00"),
        ("TZ=Asia/Kolkata 0 0 * * *", "2026-01-01T00:00:00", "2026-01-01T18:30:00"),
        ("59 23 31 12 ?", "2026-12-31T23:59:00", "2027-12-31T23:59:00"),
    ],
)
def test_the_next_time_is_upstreams(schedule: str, after: str, want: str) -> None:
    assert cron.parse(schedule).next(at(after)) == at(want)


def test_a_day_that_never_comes_gives_no_time() -> None:
    assert cron.parse("0 0 31 2 *").next(at("2026-01-01T00:00:00")) is None
    assert cron.parse(", * * * *").next(at("2026-01-01T00:00:00")) is None


def test_an_hour_that_daylight_saving_skips_is_left_out() -> None:
    nightly = cron.parse("30 2 * * *")
    before = at("2026-03-28T12:00:00", "Europe/Berlin")
    assert nightly.next(before, "Europe/Berlin") == at("2026-03-30T02:30:00", "Europe/Berlin")


def test_an_hour_that_repeats_runs_a_nightly_schedule_in_both() -> None:
    nightly = cron.parse("30 2 * * *")
    first = nightly.next(at("2026-10-24T12:00:00", "Europe/Berlin"), "Europe/Berlin")
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert nightly.next(first, "Europe/Berlin") == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_zone_whose_midnight_is_skipped_starts_the_day_at_one() -> None:
    daily = cron.parse("0 * * * *")
    after = datetime(2018, 11, 4, 2, 59, tzinfo=UTC)  # 23:59 of the day before
    assert daily.next(after, "America/Sao_Paulo") == datetime(2018, 11, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "empty spec string"),
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        (
            "x * * * *",
            'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax',
        ),
        ("@sometimes", "unrecognized descriptor: @sometimes"),
        ("@every 5", 'failed to parse duration @every 5: time: missing unit in duration "5"'),
        ("TZ=No/Where * * * * *", "provided bad location No/Where: unknown time zone No/Where"),
    ],
)
def test_errors_are_those_of_the_library(schedule: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        cron.parse(schedule)
    assert str(caught.value) == message
