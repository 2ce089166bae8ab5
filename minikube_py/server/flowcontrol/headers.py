"""What an answer tells of how its request was classified, and the answer that there is no seat."""

import asyncio
from typing import Any, Self

from aiohttp import web

from minikube_py.server.flowcontrol.control import Seat, TooManyRequestsError

SEAT = web.RequestKey("seat", Seat)
"""Where a request keeps its seat."""


class LabelledRequest(web.BaseRequest):
    """A request whose every answer, however it is made, names its flow schema and level."""

    @classmethod
    def make(cls, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Self:
        """Make a request of what aiohttp's server hands over."""
        return cls(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        seat = self.get(SEAT)
        if seat is not None:
            response.headers.update(seat.headers)


def too_many(error: TooManyRequestsError) -> web.Response:
    """Return upstream's answer to a request that finds no seat."""
    headers = {
        **error.headers,
        "Retry-After": str(error.retry_after_seconds),
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(text=f"{error}\n", status=429, headers=headers)


def release_seat(request: web.BaseRequest) -> None:
    """Give back the seat of a watch that has begun: from then on it waits for others."""
    seat = request.get(SEAT)
    if seat is not None:
        seat.leave()
