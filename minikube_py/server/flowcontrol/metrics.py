"""What flow control tells Prometheus, under upstream's names."""

from collections.abc import Callable, Iterator

from minikube_py.lib.prometheus import Histogram, histograms, metric
from minikube_py.server.flowcontrol.control import Counts, FlowControl, LevelState

PREFIX = "apiserver_flowcontrol_"
LEVEL_GAUGES: tuple[tuple[str, str, Callable[[LevelState], float]], ...] = (
    ("nominal_limit_seats", "Seats by the level's share.", lambda s: s.limits.nominal),
    ("lower_limit_seats", "Seats that the level keeps.", lambda s: s.limits.lower),
    ("upper_limit_seats", "Seats that the level may get.", lambda s: s.limits.upper),
    (
        "current_limit_seats",
        "Seats that the level has now.",
        lambda s: s.limits.nominal if s.level.limit is None else s.level.limit,
    ),
    ("demand_seats_average", "Average demand of the last period.", lambda s: s.period[0]),
    ("demand_seats_stdev", "Deviation of the demand of the last period.", lambda s: s.period[1]),
    ("demand_seats_high_watermark", "Highest demand of the last period.", lambda s: s.period[2]),
    ("demand_seats_smoothed", "Smoothed demand.", lambda s: s.smooth),
)
SCHEMA_METRICS: tuple[tuple[str, str, str, Callable[[Counts], float]], ...] = (
    ("dispatched_requests_total", "counter", "Requests that got seats.", lambda c: c.dispatched),
    ("current_executing_requests", "gauge", "Requests that run.", lambda c: c.running),
    ("current_executing_seats", "gauge", "Seats of requests that run.", lambda c: c.seats),
    ("current_inqueue_requests", "gauge", "Requests that wait.", lambda c: c.waiting),
)
SCHEMA_TIMES: tuple[tuple[str, str, Callable[[Counts], Histogram]], ...] = (
    ("request_wait_duration_seconds", "Time that requests waited for seats.", lambda c: c.waited),
    ("request_execution_seconds", "Time that requests held their seats.", lambda c: c.ran),
)


def lines(control: FlowControl) -> Iterator[str]:
    """Yield the lines of the metrics page."""
    for name, meaning, value in LEVEL_GAUGES:
        levels = (({"priority_level": level}, value(s)) for level, s in control.levels.items())
        yield from metric(f"{PREFIX}{name}", "gauge", meaning, levels)
    for name, kind, meaning, count in SCHEMA_METRICS:
        values = ((labels, count(counts)) for labels, counts in _counts(control))
        yield from metric(f"{PREFIX}{name}", kind, meaning, values)
    for name, meaning, histogram in SCHEMA_TIMES:
        times = ((labels, histogram(counts)) for labels, counts in _counts(control))
        yield from histograms(f"{PREFIX}{name}", meaning, times)
    yield from metric(
        f"{PREFIX}rejected_requests_total",
        "counter",
        "Requests that were told to come back.",
        (
            ({**labels, "reason": reason}, number)
            for labels, counts in _counts(control)
            for reason, number in counts.rejected.items()
        ),
    )
    yield from metric(
        "apiserver_current_inflight_requests",
        "gauge",
        "Requests that run.",
        (
            ({"request_kind": "readOnly"}, control.in_flight[True]),
            ({"request_kind": "mutating"}, control.in_flight[False]),
        ),
    )


def _counts(control: FlowControl) -> Iterator[tuple[dict[str, str], Counts]]:
    for (level, schema), counts in control.counts.items():
        yield {"flow_schema": schema, "priority_level": level}, counts
