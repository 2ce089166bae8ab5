"""What an answer tells of how its request was classified, and the answer that there is no seat."""

from aiohttp import web

from minikube_py.server.flowcontrol.control import Seat, TooManyRequestsError

SEAT = web.RequestKey("seat", Seat)
"""Where a request keeps its seat."""


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
