"""How many seats a request needs: a LIST by what it reads, a write by who watches.

The rules and constants are those of apiserver's `flowcontrol/request`: a LIST takes a seat for
each 100 kB that it holds at once, at most a megabyte because it is sent from the cache in chunks;
a write keeps seats for 5 ms for each ten watchers that are told of it. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from minikube_py.server.apiserver.request import RequestInfo, is_true
from minikube_py.server.flowcontrol.level import ONE_SEAT, Work

BYTES_PER_SEAT = 100_000
LIST_BYTES_MAX = 1_000_000
LIST_SEATS_MAX = 100
WRITE_SEATS_MAX = 10
WATCHERS_PER_SEAT = 10
EVENT_SECONDS = 0.005
WRITES = frozenset({"create", "update", "patch", "delete"})
ONE_OBJECT = "metadata.name="


@dataclass(frozen=True)
class Stored:
    """What a server holds of one kind."""

    objects: int
    bytes: int
    watchers: int


def lists(info: RequestInfo, query: Mapping[str, str]) -> bool:
    """Tell whether a request is answered with all objects of a kind."""
    if info.verb == "list":
        return True
    return info.verb == "watch" and is_true(query.get("sendInitialEvents"))


def of_list(stored: Stored, query: Mapping[str, str], widest: int) -> Work:
    """Return what a list, or a watch that begins with one, needs."""
    if not stored.objects or ONE_OBJECT in query.get("fieldSelector", ""):
        return ONE_SEAT
    limit = query.get("limit", "")
    objects = stored.objects
    if limit.isascii() and limit.isdigit() and len(limit) < 10 and int(limit):
        objects = min(objects, int(limit))
    size = min(objects * stored.bytes / stored.objects, LIST_BYTES_MAX)
    seats = math.ceil(size / BYTES_PER_SEAT)
    return Work(max(1, min(seats, widest or LIST_SEATS_MAX, LIST_SEATS_MAX)))


def of_write(stored: Stored, widest: int) -> Work:
    """Return what a write needs, its watchers included."""
    if stored.watchers < WATCHERS_PER_SEAT:
        return ONE_SEAT
    needed = math.ceil(stored.watchers / WATCHERS_PER_SEAT)
    seats = min(needed, widest or WRITE_SEATS_MAX, WRITE_SEATS_MAX)
    return Work(1, seats, needed * EVENT_SECONDS / seats)
