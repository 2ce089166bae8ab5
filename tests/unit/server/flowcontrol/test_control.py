"""Flow control at work, in virtual time: seats, queues, time-outs and clients that leave."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.server.apiserver.request import parse
from minikube_py.server.attributes import User
from minikube_py.server.flowcontrol.control import FlowControl, TooManyRequestsError
from minikube_py.server.flowcontrol.estimate import Stored
from tests.virtual_time import VirtualClock, run, virtual

JANE = User("jane", ("system:authenticated",))
ADMIN = User("admin", ("system:masters",))
GET = parse("GET", "/api/v1/namespaces/a/pods/b", {})
LIST = parse("GET", "/api/v1/pods", {})
CREATE = parse("POST", "/api/v1/namespaces/a/pods", {})


class Objects:
    """A lister of objects that may change."""

    def __init__(self, *objects):
        self.revision = 1
        self.objects = objects

    def items(self):
        return [SimpleNamespace(obj=obj) for obj in self.objects]

    def change(self, *objects):
        self.objects = objects
        self.revision += 1


def level(name, response=None, **more):
    response = response or {"type": "Queue", "queuing": QUEUING}
    limited = {"nominalConcurrencyShares": 10, "limitResponse": response, **more}
    spec = {"type": "Limited", "limited": limited}
    return {"metadata": {"name": name, "uid": f"uid of {name}"}, "spec": spec}


QUEUING = {"queues": 4, "handSize": 2, "queueLengthLimit": 3}
CATCH_ALL = {"nominalConcurrencyShares": 0}
SCHEMA = {
    "metadata": {"name": "mine", "uid": "uid of mine"},
    "spec": {
        "priorityLevelConfiguration": {"name": "level"},
        "matchingPrecedence": 100,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [
            {
                "subjects": [{"kind": "Group", "group": {"name": "system:authenticated"}}],
                "resourceRules": [
                    {
                        "verbs": ["*"],
                        "apiGroups": ["*"],
                        "resources": ["*"],
                        "namespaces": ["*"],
                        "clusterScope": True,
                    }
                ],
            }
        ],
    },
}


def control(*levels, seats=2, stored=None):
    catch_all = level("catch-all", {"type": "Reject"}, **CATCH_ALL)
    return FlowControl(
        Objects(SCHEMA),
        Objects(*(levels or (level("level"),)), catch_all),
        seats=seats,
        stored=lambda _info: stored,
        clock=VirtualClock(),
    )


async def seated(flow_control, user=JANE, info=GET, seconds=0.0):
    """Make one request from its arrival to its end."""
    seat = flow_control.arrive(user, info, {})
    try:
        if seat.waits:
            await seat.wait()
        await asyncio.sleep(seconds)
    finally:
        seat.leave()


@virtual
async def test_a_request_finds_a_free_seat_at_once_and_gives_it_back():
    flow_control = control()
    seat = flow_control.arrive(JANE, GET, {})
    assert not seat.waits
    assert seat.headers == {
        "X-Kubernetes-Pf-Flowschema-Uid": "uid of mine",
        "X-Kubernetes-Pf-Prioritylevel-Uid": "uid of level",
    }
    assert flow_control.in_flight == {True: 1, False: 0}
    seat.leave()
    seat.leave()
    assert flow_control.in_flight == {True: 0, False: 0}
    flow_control.close()


@virtual
async def test_who_finds_no_seat_waits_until_one_is_left():
    flow_control = control()
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(seated(flow_control, seconds=1.0))
    assert loop.time() == 2.0
    flow_control.close()


@virtual
async def test_who_waits_too_long_is_told_to_come_back():
    flow_control = control()
    held = [flow_control.arrive(JANE, GET, {}) for _ in range(2)]
    with pytest.raises(TooManyRequestsError, match="try again later") as refused:
        await seated(flow_control)
    assert asyncio.get_running_loop().time() == 15.0
    assert refused.value.retry_after_seconds == 1
    counts = flow_control.counts["level", "mine"]
    assert (counts.rejected, counts.waiting, counts.running) == ({"time-out": 1}, 0, 2)
    for seat in held:
        seat.leave()
    assert flow_control.levels["level"].level.seats_running == 0
    flow_control.close()


@virtual
async def test_a_full_queue_and_a_level_without_queues_refuse_at_once():
    flow_control = control(level("level", {"type": "Reject"}))
    seats = [flow_control.arrive(JANE, GET, {}) for _ in range(2)]
    with pytest.raises(TooManyRequestsError):
        flow_control.arrive(JANE, GET, {})
    assert flow_control.counts["level", "mine"].rejected == {"concurrency-limit": 1}
    for seat in seats:
        seat.leave()
    flow_control.close()


@virtual
async def test_administrators_and_lasting_streams_are_never_held_up():
    flow_control = control(seats=0)
    assert not flow_control.arrive(ADMIN, CREATE, {}).waits
    assert (
        flow_control.arrive(JANE, parse("GET", "/api/v1/namespaces/a/pods/b/log", {}), {}) is None
    )
    assert flow_control.arrive(JANE, GET, {}).waits
    flow_control.close()


@virtual
async def test_changed_objects_take_effect_on_the_next_request_and_nobody_loses_a_seat():
    flow_control = control()
    seats = [flow_control.arrive(JANE, GET, {}) for _ in range(3)]
    assert [seat.waits for seat in seats] == [False, False, True]
    flow_control._level_objects.change(level("level"), level("other"))
    other = flow_control.arrive(JANE, GET, {})
    assert flow_control.levels["level"].level.limit == 1
    assert other.waits
    flow_control._level_objects.change(level("other"))
    assert flow_control.arrive(JANE, GET, {}).headers["X-Kubernetes-Pf-Prioritylevel-Uid"] == ""
    for seat in seats[:2]:
        seat.leave()
    assert not seats[2].waits
    flow_control.close()


@virtual
async def test_levels_borrow_while_there_is_demand_and_no_timer_runs_when_there_is_none():
    lender = level("lender", lendablePercent=100)
    flow_control = control(level("level"), lender, seats=20)
    assert not flow_control.arrive(JANE, GET, {}).waits
    mine = flow_control.levels["level"].level
    assert mine.limit == 10
    seats = [flow_control.arrive(User(f"u{n}", JANE.groups), GET, {}) for n in range(16)]
    await asyncio.sleep(10.1)
    assert mine.limit == 20
    assert not any(seat.waits for seat in seats)
    for seat in seats:
        seat.leave()
    flow_control.close()


@virtual
async def test_the_timer_stops_when_nobody_asks_for_anything():
    flow_control = control()
    await seated(flow_control)
    await asyncio.sleep(30)
    assert flow_control._borrowing is None


@virtual
async def test_a_long_list_takes_more_seats_than_a_short_one():
    large = level("level", {"type": "Queue", "queuing": {**QUEUING, "handSize": 1}})
    flow_control = control(large, seats=50, stored=Stored(1000, 2_000_000, 0))
    flow_control.arrive(JANE, LIST, {})
    state = flow_control.levels["level"]
    assert state.level.seats_running == min(10, state.limits.widest) > 1
    flow_control.close()


@virtual
async def test_a_write_that_many_watch_keeps_its_seats_a_while():
    flow_control = control(seats=20, stored=Stored(5, 500, 200))
    seat = flow_control.arrive(JANE, CREATE, {})
    level_ = flow_control.levels["level"].level
    assert level_.seats_running == 1
    seat.leave()
    assert level_.seats_running == flow_control.levels["level"].limits.widest
    await asyncio.sleep(0.2)
    assert level_.seats_running == 0
    flow_control.close()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["jane", "joe", "ann"]),
            st.integers(0, 30),
            st.integers(0, 30),
            st.integers(1, 60),
        ),
        max_size=25,
    )
)
def test_no_seat_is_lost_whenever_clients_leave(requests):
    async def go():
        flow_control = control(seats=3)

        async def one(name, begins, lasts, leaves):
            await asyncio.sleep(begins)
            try:
                async with asyncio.timeout(leaves):
                    await seated(flow_control, User(name, JANE.groups), seconds=lasts)
            except (TimeoutError, TooManyRequestsError):
                return

        async with asyncio.TaskGroup() as group:
            for request in requests:
                group.create_task(one(*request))
        await asyncio.sleep(40)
        state = flow_control._classify(JANE, GET).state
        assert (state.level.seats_running, state.level.waiting, state.level.running) == (0, 0, 0)
        assert flow_control.in_flight == {True: 0, False: 0}
        counts = flow_control.counts["level", "mine"]
        assert (counts.running, counts.waiting, counts.seats) == (0, 0, 0)
        flow_control.close()

    run(go())
