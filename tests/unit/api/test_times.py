from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import times

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS)
def test_microseconds_survive_text(moment: datetime) -> None:
    assert times.parse(times.format_micros(moment)) == moment
    assert times.canonical_micros(times.format_micros(moment)) == times.format_micros(moment)


@given(MOMENTS)
def test_seconds_survive_text(moment: datetime) -> None:
    assert times.parse(times.format_seconds(moment)) == moment.replace(microsecond=0)


def test_the_server_keeps_utc_and_the_precision_of_the_field() -> None:
    assert times.canonical("2026-01-31T10:00:00.9+02:00") == "2026-01-31T08:00:00Z"
    assert times.canonical_micros("2026-01-31T08:00:00Z") == "2026-01-31T08:00:00.000000Z"
    assert times.seconds_between("2026-01-31T08:00:00Z", "2026-01-31T08:01:30Z") == 90


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        (
            "2026-01-31",
            'parsing time "2026-01-31" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"',
        ),
        ("2026-13-01T00:00:00Z", 'parsing time "2026-13-01T00:00:00Z": month out of range'),
        ("2026-02-30T00:00:00Z", 'parsing time "2026-02-30T00:00:00Z": day out of range'),
        ("2026-01-01T00:00:00Zx", 'parsing time "2026-01-01T00:00:00Zx": extra text: "x"'),
    ],
)
def test_errors_are_those_of_go(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="parsing time") as caught:
        times.parse(text)
    assert str(caught.value) == message
