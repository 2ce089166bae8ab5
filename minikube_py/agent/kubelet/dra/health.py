"""How well devices of DRA drivers are, as the drivers tell in a stream; for the status of pods.

What a driver says holds until the device's time is up, by which the driver tells again. A driver
whose stream has ended has said nothing. Upstream: KEP 4680, beta in v1.36.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

HEALTHS = {"HEALTHY": "Healthy", "UNHEALTHY": "Unhealthy"}
UNKNOWN = "Unknown"
TIMEOUT_SECONDS = 30
MESSAGE_CHARACTERS_MAX = 1024


class Health(NamedTuple):
    """What was said of a device."""

    health: str
    message: str
    until: float
    """Seconds since the epoch."""


Key = tuple[str, str]
"""A pool and a device in it."""


class HealthBook:
    """What all drivers have said of their devices."""

    def __init__(self) -> None:
        self._told: dict[str, dict[Key, Health]] = {}

    def update(self, driver: str, answer: Mapping[str, Any]) -> set[Key]:
        """Take the list of all devices of a driver; return those that are not as they were."""
        before, now = self._told.get(driver, {}), dict(map(_read, answer.get("devices") or ()))
        self._told[driver] = now
        return {
            key
            for key in before.keys() | now.keys()
            if key not in before or key not in now or before[key][:2] != now[key][:2]
        }

    def clear(self, driver: str) -> set[Key]:
        """Forget what a driver has said; return of which devices."""
        return set(self._told.pop(driver, ()))

    def of(self, driver: str, key: Key, now: float) -> tuple[str, str]:
        """Return the health of a device (`now` in seconds since the epoch), and a message."""
        found = self._told.get(driver, {}).get(key)
        if found is None:
            return UNKNOWN, ""
        return (found.health, found.message) if now <= found.until else (UNKNOWN, found.message)


def _read(told: Mapping[str, Any]) -> tuple[Key, Health]:
    device = told.get("device") or {}
    seconds = int(told.get("health_check_timeout_seconds", 0))
    message = str(told.get("message", ""))
    if len(message) > MESSAGE_CHARACTERS_MAX:
        message = f"{message[: MESSAGE_CHARACTERS_MAX - 3]}..."
    until = int(told.get("last_updated_time", 0)) + (seconds if seconds > 0 else TIMEOUT_SECONDS)
    key = str(device.get("pool_name", "")), str(device.get("device_name", ""))
    return key, Health(HEALTHS.get(str(told.get("health", "")), UNKNOWN), message, until)
