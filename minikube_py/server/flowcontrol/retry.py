"""When a refused client is to come back: the more are refused, the later.

The rule is that of apiserver's `dropped_requests_tracker.go`: doubled while at least three clients
are refused for each second of the wait, one second less when it is quieter. Pure.
"""

from collections import deque

SECONDS_MAX = 32


class RetryAfter:
    """The wait that one priority level asks for, in whole seconds."""

    def __init__(self) -> None:
        self.seconds = 1
        self._raised = 0
        self._second = 0
        self._refused = 0
        self._history: deque[tuple[int, int]] = deque()

    def refused(self, now: float) -> int:
        """Count one refusal; return when to come back."""
        second = int(now)
        if second != self._second:
            self._history.append((self._second, self._refused))
            while second - self._history[0][0] > SECONDS_MAX:
                self._history.popleft()
                if not self._history:
                    break
            self._second, self._refused = second, 0
            self._adapt(second)
        self._refused += 1
        return self.seconds

    def _adapt(self, now: int) -> None:
        wait = self.seconds
        recent = sum(count for second, count in self._history if now - second <= wait)
        if now - self._raised >= wait and recent >= 3 * wait:
            self.seconds = min(wait * 2, SECONDS_MAX)
            self._raised = now
        elif recent < wait and wait > 1:
            self.seconds = wait - 1
