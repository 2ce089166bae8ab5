"""What the scheduler counts, under upstream's names; the lines are made when somebody asks."""

from collections import Counter
from collections.abc import Iterator

from minikube_py.lib.prometheus import metric
from minikube_py.server.scheduler.queue import SchedulingQueue

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"


class SchedulerMetrics:
    """Counts of one scheduler; they outlive it when it is started again."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        """By profile and result."""
        self.preemptions = 0
        self.queue: SchedulingQueue | None = None

    def lines(self) -> Iterator[str]:
        """Yield the lines for Prometheus."""
        yield from metric(
            "scheduler_schedule_attempts_total",
            "counter",
            "[STABLE] Number of attempts to schedule pods, by the result.",
            (
                ({"profile": profile, "result": result}, count)
                for (profile, result), count in sorted(self.attempts.items())
            ),
        )
        yield from metric(
            "scheduler_preemption_attempts_total",
            "counter",
            "[STABLE] Total preemption attempts in the cluster till now",
            (({}, self.preemptions),),
        )
        waiting = {} if self.queue is None else self.queue.numbers()
        yield from metric(
            "scheduler_pending_pods",
            "gauge",
            "[STABLE] Number of pending pods, by the queue type.",
            (({"queue": name}, count) for name, count in waiting.items()),
        )
