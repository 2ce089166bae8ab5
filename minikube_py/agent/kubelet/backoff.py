"""Waits that double for what keeps failing, by key, and are forgotten when it went well for long.

The rules are those of client-go's flowcontrol.Backoff as the kubelet uses it: 10 s, doubled up to
300 s, and from the start again when nothing happened for twice the longest wait.
"""

from dataclasses import dataclass

from minikube_py.lib.clock import Clock

FIRST_SECONDS = 10.0
MAX_SECONDS = 300.0


@dataclass(frozen=True)
class _Entry:
    seconds: float
    updated: float


class Backoffs:
    """The waits of one sort of thing."""

    def __init__(
        self, clock: Clock, *, first: float = FIRST_SECONDS, longest: float = MAX_SECONDS
    ) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._entries: dict[str, _Entry] = {}

    def seconds(self, key: str) -> float:
        """Return the present wait of a key, 0 where it has none."""
        entry = self._entries.get(key)
        return entry.seconds if entry else 0.0

    def next(self, key: str, since: float | None = None) -> None:
        """Note a failure: double the wait, or begin with the first.

        `since` is when the thing happened (monotonic; default: now).
        """
        now = self._clock.monotonic()
        entry = self._entries.get(key)
        if entry is None or (since or now) - entry.updated > 2 * self._longest:
            seconds = self._first
        else:
            seconds = min(entry.seconds * 2, self._longest)
        self._entries[key] = _Entry(seconds, now)

    def remaining(self, key: str, since: float) -> float:
        """Return how long to wait still for a thing that happened at `since` (monotonic)."""
        entry = self._entries.get(key)
        if entry is None or since - entry.updated > 2 * self._longest:
            return 0.0
        return max(entry.seconds - (self._clock.monotonic() - since), 0.0)

    def waits_since_update(self, key: str) -> bool:
        """Tell whether the wait that began with the last failure is not over."""
        return self.ends(key) > self._clock.monotonic()

    def ends(self, key: str) -> float:
        """Return when the wait that began with the last failure is over (monotonic)."""
        entry = self._entries.get(key)
        return entry.updated + entry.seconds if entry else 0.0

    def forget(self, key: str) -> None:
        """Begin anew with the next failure."""
        self._entries.pop(key, None)


def go_duration(seconds: float) -> str:
    """Return whole seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
