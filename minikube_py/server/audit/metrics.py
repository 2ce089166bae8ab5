"""What the audit log tells Prometheus, under upstream's names."""

from collections.abc import Iterator

from minikube_py.lib.prometheus import metric
from minikube_py.server.audit.record import Auditor


def lines(auditor: Auditor) -> Iterator[str]:
    """Yield the lines of the metrics page."""
    sink = auditor.sink
    if sink is None:
        return
    yield from metric(
        "apiserver_audit_event_total",
        "counter",
        "Events that were handed to the log.",
        (({}, auditor.events),),
    )
    yield from metric(
        "apiserver_audit_level_total",
        "counter",
        "Requests by the level that the policy keeps them at.",
        (({"level": level}, count) for level, count in auditor.levels.items()),
    )
    yield from metric(
        "apiserver_audit_error_total",
        "counter",
        "Events that were lost: there was no room for them, or they could not be written.",
        (({"plugin": "buffered"}, sink.dropped), ({"plugin": "log"}, sink.failed)),
    )
