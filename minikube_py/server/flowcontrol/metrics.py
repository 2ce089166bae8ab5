"""What flow control tells Prometheus, under upstream's names."""

from collections.abc import Callable, Iterator

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
    (
        "request_wait_duration_seconds_sum",
        "counter",
        "Seconds that requests waited for seats.",
        lambda c: c.waited_seconds,
    ),
    (
        "request_execution_seconds_sum",
        "counter",
        "Seconds that requests held their seats.",
        lambda c: c.ran_seconds,
    ),
)


def lines(control: FlowControl) -> Iterator[str]:
    """Yield the lines of the metrics page."""
    for name, meaning, value in LEVEL_GAUGES:
        yield from _head(f"{PREFIX}{name}", "gauge", meaning)
        for level, state in control.levels.items():
            yield f'{PREFIX}{name}{{priority_level="{level}"}} {value(state):g}'
    for name, kind, meaning, count in SCHEMA_METRICS:
        yield from _head(f"{PREFIX}{name}", kind, meaning)
        for labels, counts in _counts(control):
            yield f"{PREFIX}{name}{{{labels}}} {count(counts):g}"
    name = f"{PREFIX}rejected_requests_total"
    yield from _head(name, "counter", "Requests that were told to come back.")
    for labels, counts in _counts(control):
        for reason, number in counts.rejected.items():
            yield f'{name}{{{labels},reason="{reason}"}} {number}'
    yield from _head("apiserver_current_inflight_requests", "gauge", "Requests that run.")
    for reading, kind in ((True, "readOnly"), (False, "mutating")):
        number = control.in_flight[reading]
        yield f'apiserver_current_inflight_requests{{request_kind="{kind}"}} {number}'


def _counts(control: FlowControl) -> Iterator[tuple[str, Counts]]:
    for (level, schema), counts in control.counts.items():
        yield f'flow_schema="{schema}",priority_level="{level}"', counts


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
