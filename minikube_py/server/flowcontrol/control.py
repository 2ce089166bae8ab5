"""Flow control at work: a request is classified, given a seat, or told to come back.

Where seats are free, all is decided in one call without waiting. What follows from the objects is
compiled when they have changed, and a classification is kept for requests of the same sort.
Parts in process are not limited: their own work queues bound them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from minikube_py.api.object import Obj
from minikube_py.client.protocol import Lister
from minikube_py.lib.clock import Clock, Timer
from minikube_py.lib.prometheus import Histogram
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.attributes import User
from minikube_py.server.flowcontrol import estimate, limits
from minikube_py.server.flowcontrol.dealing import flow_hash
from minikube_py.server.flowcontrol.estimate import Stored
from minikube_py.server.flowcontrol.level import (
    ONE_SEAT,
    Level,
    Queuing,
    RejectedError,
    State,
    Ticket,
    Work,
)
from minikube_py.server.flowcontrol.limits import EXEMPT, Limits, Wanted
from minikube_py.server.flowcontrol.matching import Schema, in_order, with_mandatory_levels
from minikube_py.server.flowcontrol.retry import RetryAfter

WAIT_SECONDS_MAX = 15.0
"""A quarter of the time that a request may take; upstream's rule."""
BORROWING_SECONDS = 10.0
"""How often levels lend each other seats, while there is demand."""
CLASSES_KEPT_MAX = 4096
PATH_KEPT_MAX = 512
"""Requests of longer paths are classified anew each time, so that none fills the memory."""
SECONDS_BOUNDS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
"""Of histograms; upstream's."""
LASTING = frozenset({"attach", "exec", "proxy", "log", "portforward"})
SCHEMA_UID, LEVEL_UID = "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"
StoredOf = Callable[[RequestInfo], Stored | None]


class TooManyRequestsError(Exception):
    """There is no seat; the client is to come back."""

    def __init__(self, retry_after_seconds: int, headers: Mapping[str, str]) -> None:
        super().__init__("Too many requests, please try again later.")
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers


@dataclass
class LevelState:
    """One priority level as it is run."""

    uid: str
    level: Level
    limits: Limits
    smooth: float = 0.0
    target: float = 0.0
    period: tuple[float, float, int] = (0.0, 0.0, 0)
    """Average, deviation and maximum of the demand in the last period."""
    retry: RetryAfter = field(default_factory=RetryAfter)


@dataclass
class Class:
    """Requests of one sort: their schema, level and flow; and what became of them."""

    schema: Schema
    state: LevelState
    flow: int
    headers: Mapping[str, str]
    counts: "Counts"
    lines: str = ""
    """The headers as lines of an answer's head."""

    def __post_init__(self) -> None:
        self.lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())


@dataclass
class Counts:
    """What became of the requests of one schema."""

    dispatched: int = 0
    running: int = 0
    seats: int = 0
    waiting: int = 0
    waited: Histogram = field(default_factory=lambda: Histogram(SECONDS_BOUNDS))
    ran: Histogram = field(default_factory=lambda: Histogram(SECONDS_BOUNDS))
    rejected: dict[str, int] = field(default_factory=dict)
    """By reason."""


class Seat:
    """One request's place; `leave` gives it back and may be called more than once."""

    __slots__ = ("_class", "_control", "_ticket", "reading")

    def __init__(
        self, control: "FlowControl", class_: Class, ticket: Ticket, *, reading: bool
    ) -> None:
        self._control = control
        self._class = class_
        self._ticket = ticket
        self.reading = reading

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that tell a client how its request was classified."""
        return self._class.headers

    @property
    def lines(self) -> str:
        """The same as lines of an answer's head."""
        return self._class.lines

    @property
    def waits(self) -> bool:
        """Whether the request must `wait` before it runs."""
        return self._ticket.state is State.WAITING

    async def wait(self) -> None:
        """Wait for the seats.

        Raises:
            TooManyRequestsError: it took too long.

        """
        loop = asyncio.get_running_loop()
        seated: asyncio.Future[bool] = loop.create_future()

        def end(result: bool) -> None:  # noqa: FBT001 -- the future's result
            if not seated.done():
                seated.set_result(result)

        control, ticket = self._control, self._ticket
        ticket.wake = lambda: end(True)  # noqa: FBT003
        timer = control.clock.call_later(WAIT_SECONDS_MAX, lambda: end(False))  # noqa: FBT003
        try:
            if not await seated:
                raise control.refuse(self._class, "time-out")
        finally:
            timer.cancel()
            self._class.counts.waiting -= 1
            if ticket.state is State.RUNNING:
                self._begun()

    def _begun(self) -> None:
        counts, ticket = self._class.counts, self._ticket
        counts.dispatched += 1
        counts.running += 1
        counts.seats += ticket.work.seats
        counts.waited.observe(ticket.started - ticket.arrived)
        self._control.in_flight[self.reading] += 1

    def begin(self) -> None:
        """Count the request, as running or as waiting."""
        if self._ticket.state is State.RUNNING:
            self._begun()
        else:
            self._class.counts.waiting += 1

    def leave(self) -> None:
        """Give back the seats, or the place in the queue."""
        ticket, control = self._ticket, self._control
        state = ticket.state
        if state is State.RUNNING:
            now = control.clock.monotonic()
            counts = self._class.counts
            counts.running -= 1
            counts.seats -= ticket.work.seats
            counts.ran.observe(now - ticket.started)
            control.in_flight[self.reading] -= 1
            if ticket.level.leave(ticket, now):
                control.clock.call_later(ticket.work.lingering_seconds, self._linger)
        elif state is State.WAITING:
            ticket.level.leave(ticket, control.clock.monotonic())

    def _linger(self) -> None:
        self._ticket.level.leave(self._ticket, self._control.clock.monotonic())


class FlowControl:
    """The priority levels of one server."""

    def __init__(
        self, schemas: Lister, levels: Lister, *, seats: int, stored: StoredOf, clock: Clock
    ) -> None:
        self.seats = seats
        self.clock = clock
        self.levels: dict[str, LevelState] = {}
        self.counts: dict[tuple[str, str], Counts] = {}
        """By level and schema."""
        self.in_flight = {True: 0, False: 0}
        """Requests that run now, reading ones and writing ones."""
        self._schema_objects = schemas
        self._level_objects = levels
        self._stored = stored
        self._schemas: list[Schema] = []
        self._classes: dict[object, Class] = {}
        self._seen: tuple[int, int] = (-1, -1)
        self._borrowing: Timer | None = None

    def arrive(self, user: User, info: RequestInfo, query: Mapping[str, str]) -> Seat | None:
        """Return a seat or a place in a queue; None for what lasts and is not limited.

        Raises:
            TooManyRequestsError: there is neither.

        """
        if info.verb == "proxy" or info.subresource in LASTING:
            return None
        class_ = self._classify(user, info)
        state = class_.state
        level = state.level
        work = ONE_SEAT if level.limit is None else self._work(info, query, state.limits.widest)
        try:
            ticket = level.arrive(work, class_.flow, self.clock.monotonic())
        except RejectedError as error:
            raise self.refuse(class_, error.reason) from error
        seat = Seat(self, class_, ticket, reading=info.verb in ("get", "list", "watch"))
        seat.begin()
        if self._borrowing is None:
            self._borrowing = self.clock.call_later(BORROWING_SECONDS, self._borrow)
        return seat

    def refuse(self, class_: Class, reason: str) -> TooManyRequestsError:
        """Count a refusal and return it."""
        rejected = class_.counts.rejected
        rejected[reason] = rejected.get(reason, 0) + 1
        wait = class_.state.retry.refused(self.clock.monotonic())
        return TooManyRequestsError(wait, class_.headers)

    def _work(self, info: RequestInfo, query: Mapping[str, str], widest: int) -> Work:
        if estimate.lists(info, query):
            stored = self._stored(info)
            return ONE_SEAT if stored is None else estimate.of_list(stored, query, widest)
        if info.is_resource and info.verb in estimate.WRITES:
            stored = self._stored(info)
            return ONE_SEAT if stored is None else estimate.of_write(stored, widest)
        return ONE_SEAT

    # Classes

    def _classify(self, user: User, info: RequestInfo) -> Class:
        seen = (self._schema_objects.revision, self._level_objects.revision)
        if seen != self._seen:
            self._digest()
            self._seen = seen
        what = (info.group, info.plural, info.subresource, info.namespace)
        key = (user.name, user.groups, info.verb, what if info.is_resource else info.path)
        class_ = self._classes.get(key)
        if class_ is None:
            if len(self._classes) >= CLASSES_KEPT_MAX:
                self._classes.clear()
            class_ = self._class(user, info)
            if len(info.path) <= PATH_KEPT_MAX:
                self._classes[key] = class_
        return class_

    def _class(self, user: User, info: RequestInfo) -> Class:
        matching = (schema for schema in self._schemas if schema.matches(user, info))
        # Who is in neither of the groups of everybody falls under the last schema all the same.
        schema = next(matching, self._schemas[-1])
        state = self.levels[schema.level]
        return Class(
            schema,
            state,
            flow_hash(schema.name, schema.flow(user, info)),
            {SCHEMA_UID: schema.uid, LEVEL_UID: state.uid},
            self.counts.setdefault((schema.level, schema.name), Counts()),
        )

    # Configuration

    def _digest(self) -> None:
        """Take in the objects as they are now."""
        levels = with_mandatory_levels(item.obj for item in self._level_objects.items())
        bounds = limits.limits_of(levels, self.seats)
        self.levels = {
            name: self._level_state(name, level, bounds[name]) for name, level in levels.items()
        }
        self._schemas = in_order((item.obj for item in self._schema_objects.items()), levels)
        known = {(schema.level, schema.name) for schema in self._schemas}
        self.counts = {key: counts for key, counts in self.counts.items() if key in known}
        self._classes.clear()

    def _level_state(self, name: str, obj: Obj, bounds: Limits) -> LevelState:
        uid, queuing = obj["metadata"].get("uid", ""), _queuing(obj)
        state = self.levels.get(name)
        if state is None or state.limits.exempt != bounds.exempt:
            limit = None if bounds.exempt else bounds.first
            return LevelState(uid, Level(name, limit, queuing), bounds)
        if not bounds.exempt and (bounds != state.limits or queuing != state.level.queuing):
            limit = bounds.first if bounds != state.limits else state.level.limit or 0
            state.level.configure(limit, queuing, self.clock.monotonic())
        state.uid, state.limits = uid, bounds
        return state

    # Borrowing

    def _borrow(self) -> None:
        """Divide the seats anew; goes on for as long as there is demand."""
        now = self.clock.monotonic()
        wanted = {}
        for name, state in self.levels.items():
            average, deviation, highest = state.period = state.level.demand.period(now)
            state.smooth = limits.smoothed(state.smooth, average, deviation)
            wanted[name] = Wanted(highest, state.smooth)
        for name, seats in limits.lent(
            {name: state.limits for name, state in self.levels.items()}, wanted
        ).items():
            level = self.levels[name].level
            if level.limit is not None and level.limit != seats:
                level.configure(seats, level.queuing, now)
        quiet = all(not state.period[2] for state in self.levels.values())
        again = None if quiet else self.clock.call_later(BORROWING_SECONDS, self._borrow)
        self._borrowing = again

    def close(self) -> None:
        """Stop dividing seats."""
        if self._borrowing is not None:
            self._borrowing.cancel()


def _queuing(level: Obj) -> Queuing:
    spec = level["spec"]
    if spec["type"] == EXEMPT:
        return Queuing()
    queuing = ((spec.get("limited") or {}).get("limitResponse") or {}).get("queuing")
    if not queuing:
        return Queuing()
    return Queuing(queuing["queues"], queuing["handSize"], queuing["queueLengthLimit"])
