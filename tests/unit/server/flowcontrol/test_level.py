"""Laws of one priority level, with time as a parameter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minikube_py.server.flowcontrol.dealing import flow_hash
from minikube_py.server.flowcontrol.level import (
    ONE_SEAT,
    Demand,
    Level,
    Queuing,
    RejectedError,
    State,
    Work,
)

QUEUING = Queuing(queues=8, hand=2, length_max=3)
FLOWS = [flow_hash("schema", str(number)) for number in range(6)]


class LevelMachine(RuleBasedStateMachine):
    """Clients come, run, leave while they wait, and the bounds change: in any order."""

    def __init__(self):
        super().__init__()
        self.level = Level("level", 4, QUEUING)
        self.now = 0.0
        self.tickets = []

    def held(self, state):
        return [ticket for ticket in self.tickets if ticket.state is state]

    @rule(seconds=st.floats(0, 1))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(flow=st.sampled_from(FLOWS), seats=st.integers(1, 6), lingering=st.integers(0, 3))
    def a_request_comes(self, flow, seats, lingering):
        try:
            ticket = self.level.arrive(Work(seats, lingering, 0.005), flow, self.now)
        except RejectedError:
            assert any(len(queue.waiting) >= 3 for queue in self.level.queues)
            return
        self.tickets.append(ticket)
        assert ticket.state in (State.RUNNING, State.WAITING)

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 10**6))
    def one_leaves_wherever_it_is(self, which):
        ticket = self.tickets[which % len(self.tickets)]
        before = ticket.state
        lingers = self.level.leave(ticket, self.now)
        ran = before is State.RUNNING and ticket.work.lingering_seats
        assert lingers == bool(ran) == (ticket.state is State.LINGERING)
        if not lingers:
            self.tickets.remove(ticket)
            assert not self.level.leave(ticket, self.now)

    @rule(limit=st.integers(0, 8), queues=st.integers(1, 12))
    def the_bounds_change(self, limit, queues):
        self.level.configure(limit, Queuing(queues, min(2, queues), 3), self.now)

    @invariant()
    def every_seat_and_every_place_has_its_ticket(self):
        running, lingering = self.held(State.RUNNING), self.held(State.LINGERING)
        waiting = self.held(State.WAITING)
        seats = sum(t.work.seats for t in running)
        seats += sum(t.work.lingering_seats for t in lingering)
        assert self.level.seats_running == seats
        assert self.level.running == len(running) + len(lingering)
        assert self.level.waiting == len(waiting)
        assert set(self.level.tickets_waiting()) == set(waiting)
        assert self.level.demand.value == seats + sum(t.work.width for t in waiting)
        assert self.level._active == sum(queue.active for queue in self.level.queues)

    @invariant()
    def nobody_waits_while_there_is_room_for_the_next(self):
        waiting = [next(iter(queue.waiting)) for queue in self.level._backlog]
        if waiting:
            first = min(waiting, key=lambda t: t.queue.next_start + 0.003 * t.work.width)
            assert not self.level._fits(first.work.width)


TestLevel = LevelMachine.TestCase


@given(st.lists(st.tuples(st.sampled_from(FLOWS), st.integers(1, 5)), max_size=40))
def test_seats_are_never_above_the_limit_but_for_one_that_is_wider(requests):
    level = Level("level", 4, Queuing(8, 2, 50))
    for now, (flow, seats) in enumerate(requests):
        level.arrive(Work(seats), flow, float(now))
        assert level.seats_running <= 4 or level.running == 1


@given(st.lists(st.sampled_from(FLOWS), min_size=1, max_size=60), st.integers(1, 5))
def test_who_waits_is_seated_in_the_end(flows, limit):
    level, now, waiting, running = Level("level", limit, Queuing(8, 2, 60)), 0.0, [], []
    for flow in flows:
        ticket = level.arrive(ONE_SEAT, flow, now)
        (running if ticket.state is State.RUNNING else waiting).append(ticket)
        ticket.wake = lambda ticket=ticket: running.append(ticket)
    order = 0
    while order < len(running):
        now += 0.01
        level.leave(running[order], now)
        order += 1
    assert order == len(flows)
    assert not level.waiting
    assert not level.seats_running


def flood(level, flow, count):
    """Let one flow ask for much; return its tickets."""
    return [level.arrive(ONE_SEAT, flow, 0.0) for _ in range(count)]


def two_flows_apart():
    """Return two flows that share no queue of eight."""
    from minikube_py.server.flowcontrol.dealing import deal  # noqa: PLC0415

    first = FLOWS[0]
    other = next(f for f in FLOWS if not set(deal(f, 8, 2)) & set(deal(first, 8, 2)))
    return first, other


def test_a_flow_that_floods_keeps_another_waiting_for_one_request_of_each_queue_at_most():
    level = Level("level", 1, Queuing(8, 2, 50))
    loud, quiet = two_flows_apart()
    flooded = flood(level, loud, 80)
    asked = level.arrive(ONE_SEAT, quiet, 0.5)
    for now in (1.0, 1.5):
        assert asked.state is State.WAITING
        level.leave(next(t for t in flooded if t.state is State.RUNNING), now)
    assert asked.state is State.RUNNING


def test_two_busy_flows_get_the_same_share_of_time_though_one_asks_for_longer_work():
    level, now = Level("level", 1, Queuing(8, 1, 500)), 0.0
    loud, other = FLOWS[0], next(f for f in FLOWS if f % 8 != FLOWS[0] % 8)
    took = {}
    for flow, seconds in ((loud, 0.1), (other, 0.02)):
        for _ in range(300):
            took[level.arrive(ONE_SEAT, flow, now)] = (flow, seconds)
    spent = {loud: 0.0, other: 0.0}
    while now < 5:
        running = next(ticket for ticket in took if ticket.state is State.RUNNING)
        flow, seconds = took.pop(running)
        now += seconds
        spent[flow] += seconds
        level.leave(running, now)
    assert spent[loud] == pytest.approx(spent[other], rel=0.1)


def test_a_full_queue_refuses_and_a_client_that_gives_up_makes_room():
    level = Level("level", 1, Queuing(1, 1, 2))
    first, second, third = (level.arrive(ONE_SEAT, 0, 0.0) for _ in range(3))
    with pytest.raises(RejectedError, match="queue-full"):
        level.arrive(ONE_SEAT, 0, 0.0)
    level.leave(second, 1.0)
    fourth = level.arrive(ONE_SEAT, 0, 1.0)
    level.leave(first, 2.0)
    assert (third.state, fourth.state) == (State.RUNNING, State.WAITING)


def test_a_level_without_queues_refuses_at_once():
    level = Level("level", 2)
    level.arrive(ONE_SEAT, 0, 0.0)
    ticket = level.arrive(ONE_SEAT, 0, 0.0)
    with pytest.raises(RejectedError, match="concurrency-limit"):
        level.arrive(ONE_SEAT, 0, 0.0)
    level.leave(ticket, 1.0)
    assert level.arrive(ONE_SEAT, 0, 1.0).state is State.RUNNING


def test_a_level_of_no_seats_holds_its_requests_until_it_gets_some():
    level = Level("jail", 0, QUEUING)
    ticket = level.arrive(ONE_SEAT, FLOWS[0], 0.0)
    assert ticket.state is State.WAITING
    level.configure(1, QUEUING, 1.0)
    assert ticket.state is State.RUNNING


def test_an_exempt_level_lets_all_in():
    level = Level("exempt", None)
    assert all(level.arrive(ONE_SEAT, 0, 0.0).state is State.RUNNING for _ in range(1000))
    assert level.seats_running == 1000


def test_a_write_keeps_its_seats_while_its_watchers_are_told():
    level = Level("level", 3, QUEUING)
    write = level.arrive(Work(1, 3, 0.005), FLOWS[0], 0.0)
    assert level.leave(write, 0.1)
    assert level.seats_running == 3
    waits = level.arrive(ONE_SEAT, FLOWS[1], 0.1)
    assert waits.state is State.WAITING
    assert not level.leave(write, 0.105)
    assert waits.state is State.RUNNING


def test_a_request_wider_than_its_level_runs_alone():
    level = Level("level", 2, QUEUING)
    first = level.arrive(ONE_SEAT, FLOWS[0], 0.0)
    wide = level.arrive(Work(5), FLOWS[1], 0.0)
    assert wide.state is State.WAITING
    level.leave(first, 1.0)
    assert wide.state is State.RUNNING
    assert level.arrive(ONE_SEAT, FLOWS[2], 1.0).state is State.WAITING


@given(st.lists(st.tuples(st.floats(0.1, 10), st.integers(0, 20)), min_size=1, max_size=20))
def test_the_demand_of_a_period_is_its_average_weighted_by_time(steps):
    demand, now, total = Demand(), 0.0, 0.0
    for seconds, value in steps:
        demand.set(value, now)
        now += seconds
        total += seconds * value
    average, deviation, highest = demand.period(now)
    assert average == pytest.approx(total / now)
    assert 0 <= deviation <= 20
    assert highest == max(value for _, value in steps)
    assert demand.highest == steps[-1][1]
