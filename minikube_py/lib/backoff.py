"""Exponential back-off: how long to wait before the n-th retry."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits grow by `factor` from `first_seconds` to at most `max_seconds`."""

    first_seconds: float = 0.005
    factor: float = 2.0
    max_seconds: float = 60.0

    def wait_seconds(self, failures: int) -> float:
        """Return the wait after that many failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        exponent = min(failures - 1, 64)
        return min(self.first_seconds * self.factor**exponent, self.max_seconds)
