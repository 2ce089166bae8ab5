"""One priority level: seats, and fair queues in front of them. Pure; time is a parameter.

This is fair queuing for servers, as apiserver's `fairqueuing/queueset` has it. Every queue gets
the same share of the seats; in a virtual world in which all queues are served at once, a second
of virtual time is a second of one queue's share. A request's virtual start is where its queue's
earlier work ends in that world; the request that would end first there runs first here. How long
a request takes is not known before: a guess is charged and put right when it ends.

A ticket is one request. `arrive` gives it a seat or a place in a queue, or refuses; `leave` takes
either back, at any time and as often as one likes: so no seat is lost when a client goes.
"""

import enum
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from minikube_py.server.flowcontrol.dealing import deal

SERVICE_SECONDS = 0.003
"""What a request is guessed to take (upstream's `estimatedServiceDuration`)."""


class State(enum.Enum):
    """Where a ticket is."""

    NEW = "new"
    WAITING = "waiting"  # in a queue
    RUNNING = "running"  # has its seats
    LINGERING = "lingering"  # has run; its watchers are still being served
    GONE = "gone"


class RejectedError(Exception):
    """There is no seat and no place to wait; the reason is upstream's label of its metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Queuing:
    """How a level queues; no queues at all where it refuses."""

    queues: int = 0
    hand: int = 0
    length_max: int = 0


@dataclass(frozen=True)
class Work:
    """What a request is estimated to need."""

    seats: int = 1
    lingering_seats: int = 0
    """Seats that it keeps for a while after its end, for the watchers of what it wrote."""
    lingering_seconds: float = 0.0

    @property
    def width(self) -> int:
        """The seats that it needs at most at a time."""
        return max(self.seats, self.lingering_seats)


ONE_SEAT = Work()


class Queue:
    """Requests of some flows, in their order."""

    __slots__ = ("next_start", "running", "seats_running", "seats_waiting", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Ticket, None] = {}
        self.running = 0
        self.seats_running = 0
        self.seats_waiting = 0
        self.next_start = 0.0
        """Virtual time at which the next request starts."""

    @property
    def active(self) -> bool:
        """Whether anything of it waits or runs."""
        return bool(self.waiting or self.running)


class Ticket:
    """One request at a level."""

    __slots__ = (
        "arrived",
        "arrived_virtually",
        "level",
        "queue",
        "started",
        "state",
        "wake",
        "work",
    )

    def __init__(self, level: "Level", work: Work) -> None:
        self.level = level
        self.work = work
        self.state = State.NEW
        self.queue: Queue | None = None
        self.arrived = self.arrived_virtually = self.started = 0.0
        self.wake: Callable[[], None] | None = None
        """Called when a waiting ticket gets its seats."""


class Demand:
    """How many seats were wanted over a period: average, deviation and maximum."""

    __slots__ = ("_began", "_since", "_squares", "_sum", "highest", "value")

    def __init__(self, now: float = 0.0, value: int = 0) -> None:
        self._began = self._since = now
        self._sum = self._squares = 0.0
        self.value = self.highest = value

    def set(self, value: int, now: float) -> None:
        """Tell that the demand is another from now on."""
        area = (now - self._since) * self.value
        self._sum += area
        self._squares += area * self.value
        self._since, self.value = now, value
        self.highest = max(self.highest, value)

    def period(self, now: float) -> tuple[float, float, int]:
        """Return average, standard deviation and maximum, and begin the next period."""
        self.set(self.value, now)
        length = now - self._began
        average = self._sum / length if length else float(self.value)
        squares = self._squares / length if length else average * average
        highest = self.highest
        self.__init__(now, self.value)  # type: ignore[misc]
        return average, math.sqrt(max(squares - average * average, 0.0)), highest


class Level:
    """The seats of a priority level and who has them; `limit` None is a level without bounds."""

    def __init__(self, name: str, limit: int | None, queuing: Queuing = Queuing()) -> None:
        self.name = name
        self.limit = limit
        self.queuing = queuing
        self.queues = [Queue() for _ in range(queuing.queues)]
        self.demand = Demand()
        self.running = 0
        self.seats_running = 0
        self.waiting = 0
        self.seats_waiting = 0
        self._virtual = 0.0
        self._at = 0.0
        self._active = 0
        self._backlog: dict[Queue, None] = {}
        """The queues in which somebody waits."""
        self._arrivals = 0

    # What happens to it

    def arrive(self, work: Work, flow: int, now: float) -> Ticket:
        """Take in a request of a flow, by its hash: it runs at once or waits.

        Raises:
            RejectedError: neither is possible.

        """
        ticket = Ticket(self, work)
        ticket.arrived = ticket.started = now
        if self.limit is None:
            self._run(ticket)
            self._note(now)
            return ticket
        self._advance(now)
        if self.queuing.queues:
            self._queue(ticket, flow)
        elif self._fits(work.width):
            self._run(ticket)
        else:
            raise RejectedError("concurrency-limit")
        self._note(now)
        return ticket

    def leave(self, ticket: Ticket, now: float) -> bool:
        """Take a request out, wherever it is; tell whether it lingers and is to leave once more."""
        self._advance(now)
        if ticket.state is State.WAITING:
            self._unqueue(ticket)
            ticket.state = State.GONE
        elif ticket.state is State.RUNNING:
            self._end(ticket, now)
        elif ticket.state is State.LINGERING:
            self._release(ticket, ticket.work.lingering_seats)
        else:
            return False
        self._dispatch(now)
        self._note(now)
        return ticket.state is State.LINGERING

    def configure(self, limit: int, queuing: Queuing, now: float) -> None:
        """Change the bounds; who is in stays in, and queues that are too many are dealt no more."""
        self._advance(now)
        self.limit = limit
        if queuing != self.queuing:
            missing = queuing.queues - len(self.queues)
            self.queues.extend(Queue() for _ in range(missing))
            self.queuing = queuing
        self._dispatch(now)
        self._note(now)

    # Queues

    def _queue(self, ticket: Ticket, flow: int) -> None:
        queue = self._shortest(flow)
        if not queue.active:
            queue.next_start = self._virtual
        ticket.queue = queue
        ticket.arrived_virtually = self._virtual
        if not self.waiting and self._fits(ticket.work.width):
            self._run(ticket)
            return
        full = len(queue.waiting) >= self.queuing.length_max
        if full and self.seats_running >= (self.limit or 0):
            raise RejectedError("queue-full")
        self._active += not queue.active
        ticket.state = State.WAITING
        queue.waiting[ticket] = None
        queue.seats_waiting += ticket.work.width
        self.waiting += 1
        self.seats_waiting += ticket.work.width
        self._backlog[queue] = None
        self._bound(queue)
        self._dispatch(ticket.arrived)

    def _shortest(self, flow: int) -> Queue:
        """Return the queue of the flow's hand with the least work; equals take turns."""
        hand = deal(flow, self.queuing.queues, self.queuing.hand)
        self._arrivals += 1
        turn = self._arrivals % len(hand)
        queues = self.queues
        best = queues[hand[turn]]
        least = best.seats_waiting + best.seats_running
        if not least:
            return best
        for card in (*hand[turn + 1 :], *hand[:turn]):
            queue = queues[card]
            work = queue.seats_waiting + queue.seats_running
            if work < least:
                best, least = queue, work
        return best

    def _unqueue(self, ticket: Ticket) -> None:
        queue = ticket.queue
        assert queue is not None  # noqa: S101 -- only what is in a queue waits
        del queue.waiting[ticket]
        queue.seats_waiting -= ticket.work.width
        self.waiting -= 1
        self.seats_waiting -= ticket.work.width
        if queue.waiting:
            self._bound(queue)
        else:
            del self._backlog[queue]
        self._active -= not queue.active

    def _bound(self, queue: Queue) -> None:
        """Let no request start, in the virtual world, before it came.

        A queue that cannot use its share would gather an ever earlier start, and keep others
        waiting for it later.
        """
        queue.next_start = max(queue.next_start, next(iter(queue.waiting)).arrived_virtually)

    def _dispatch(self, now: float) -> None:
        """Seat who would end first in the virtual world, while there are seats."""
        while self._backlog:
            ticket = min(map(_first, self._backlog), key=_virtual_end)
            if not self._fits(ticket.work.width):
                return
            self._unqueue(ticket)
            ticket.started = now
            self._run(ticket)
            if ticket.wake is not None:
                ticket.wake()

    # Seats

    def _fits(self, seats: int) -> bool:
        """Tell whether there is room; what is wider than the level runs alone."""
        limit = self.limit or 0
        if seats > limit:
            return limit > 0 and not self.running
        return self.seats_running + seats <= limit

    def _run(self, ticket: Ticket) -> None:
        ticket.state = State.RUNNING
        seats = ticket.work.seats
        self.running += 1
        self.seats_running += seats
        queue = ticket.queue
        if queue is None:
            return
        self._active += not queue.active
        queue.running += 1
        queue.seats_running += seats
        queue.next_start += SERVICE_SECONDS * ticket.work.width
        if queue.waiting:
            self._bound(queue)

    def _end(self, ticket: Ticket, now: float) -> None:
        """End a request that ran; charge its queue for what it really took."""
        work, queue = ticket.work, ticket.queue
        if queue is not None:
            took = now - ticket.started
            queue.next_start -= SERVICE_SECONDS * work.width - took * work.seats
        if not work.lingering_seats:
            self._release(ticket, work.seats)
            return
        ticket.state = State.LINGERING
        more = work.lingering_seats - work.seats
        self.seats_running += more
        if queue is not None:
            queue.seats_running += more
            queue.next_start += work.lingering_seconds * work.lingering_seats

    def _release(self, ticket: Ticket, seats: int) -> None:
        ticket.state = State.GONE
        self.running -= 1
        self.seats_running -= seats
        queue = ticket.queue
        if queue is not None:
            queue.running -= 1
            queue.seats_running -= seats
            self._active -= not queue.active

    # Time

    def _advance(self, now: float) -> None:
        """Move the virtual world on: the more queues share the seats, the slower."""
        if self._active:
            wanted = self.seats_running + self.seats_waiting
            share = min(wanted, self.limit or 0) / self._active
            self._virtual += (now - self._at) * share
        else:
            self._virtual = 0.0
        self._at = now

    def _note(self, now: float) -> None:
        self.demand.set(self.seats_running + self.seats_waiting, now)

    def tickets_waiting(self) -> Iterator[Ticket]:
        """Yield who waits, queue by queue."""
        for queue in self._backlog:
            yield from queue.waiting


def _first(queue: Queue) -> Ticket:
    return next(iter(queue.waiting))


def _virtual_end(ticket: Ticket) -> float:
    queue = ticket.queue
    start = queue.next_start if queue is not None else 0.0
    return start + SERVICE_SECONDS * ticket.work.width
