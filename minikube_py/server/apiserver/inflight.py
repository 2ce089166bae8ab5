"""How many requests may be under way: past the bound they are told to come back in a second.

The bounds and the answer are those of apiserver's `filters/maxinflight.go`. Watches and streams
last and do not count; administrators are always let in, so that an overrun server can be mended.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from minikube_py.server.attributes import User

READING_MAX = 400
WRITING_MAX = 200
_READING = frozenset({"get", "list"})
_LASTING_VERBS = frozenset({"watch", "proxy"})
_LASTING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})
MASTERS = "system:masters"


class TooManyInFlightError(Exception):
    """There are as many requests under way as there may be."""


class InFlight:
    """Counts the requests under way."""

    def __init__(self, *, reading_max: int = READING_MAX, writing_max: int = WRITING_MAX) -> None:
        self._left = {True: reading_max, False: writing_max}

    @contextmanager
    def counted(self, user: User, verb: str, subresource: str = "") -> Iterator[None]:
        """Count one request for the length of the block.

        Raises:
            TooManyInFlightError: there are too many already.

        """
        if verb in _LASTING_VERBS or subresource in _LASTING_SUBRESOURCES:
            yield
            return
        reading = verb in _READING
        if self._left[reading] <= 0 and MASTERS not in user.groups:
            raise TooManyInFlightError
        self._left[reading] -= 1
        try:
            yield
        finally:
            self._left[reading] += 1


def too_many() -> web.Response:
    """Return upstream's answer past the bound."""
    return web.Response(
        text="Too many requests, please try again later.\n",
        status=429,
        headers={"Retry-After": "1", "X-Content-Type-Options": "nosniff"},
    )
