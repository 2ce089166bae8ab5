"""The queue: priorities, deadlines, back-off, hints, gates, and no timer without need."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import NODES, PODS
from minikube_py.server.scheduler import queue as module
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered, pod_event
from minikube_py.server.scheduler.framework import rejection
from minikube_py.server.scheduler.plugins.default_binder import DefaultBinder
from minikube_py.server.scheduler.plugins.priority_sort import PrioritySort
from minikube_py.server.scheduler.plugins.scheduling_gates import SchedulingGates
from minikube_py.server.scheduler.profile import compose, everywhere
from minikube_py.server.scheduler.queue import (
    PAUSE_SECONDS,
    STUCK_SECONDS,
    Place,
    SchedulingQueue,
)
from tests.unit.server.scheduler.builders import handle, pod
from tests.virtual_time import VirtualClock, run, virtual

NODE_ADDED = ClusterEvent(NODES, Action.ADD, None, None)
NODE_CHANGED = ClusterEvent(NODES, Action.NODE_LABEL, None, None)
POD_GONE = ClusterEvent(PODS, Action.DELETE, None, None)


class Picky:
    """Rejects pods; nodes that come help those whose label says so."""

    name = "Picky"

    def events_to_register(self):
        return [
            Registered(NODES, Action.ADD, lambda pod, _: pod.labels.get("hint") != "no"),
            Registered(PODS, Action.POD_LABEL, lambda pod, event: event.new.uid == pod.uid),
        ]

    def filter(self, cycle):
        raise AssertionError(cycle)


class Fussy:
    """Rejects pods; pods that go help."""

    name = "Fussy"

    def events_to_register(self):
        return [Registered(PODS, Action.DELETE)]

    def pre_enqueue(self, pod):
        return rejection("no") if pod.labels.get("gated") else None


def made():
    plugins = (PrioritySort(), SchedulingGates(), Picky(), Fussy(), DefaultBinder(handle()))
    profile = compose(everywhere((one, 0) for one in plugins))
    return SchedulingQueue(VirtualClock(), {profile.name: profile})


def now():
    return asyncio.get_running_loop().time()


async def take(queue):
    queued = await asyncio.wait_for(queue.get(), 10_000)
    return queued, queued.pod.key.name


async def nothing_comes(queue, seconds=50):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), seconds)


@virtual
async def test_the_most_important_pod_comes_first_then_the_oldest():
    queue = made()
    for name, priority in (("a", 0), ("b", 10), ("c", 0)):
        queue.put(pod(name, priority=priority))
        await asyncio.sleep(1)
    assert [(await take(queue))[1] for _ in range(3)] == ["b", "a", "c"]


@virtual
async def test_within_a_priority_the_earliest_deadline_comes_first():
    queue = made()
    deadlines = {"none": None, "late": "2026-03-01T00:00:00Z", "soon": "2026-02-01T00:00:00+01:00"}
    for name, deadline in deadlines.items():
        queue.put(pod(name, deadline=deadline))
    queue.put(pod("nonsense", deadline="tomorrow"))
    queue.put(pod("important", priority=1))
    order = [(await take(queue))[1] for _ in range(5)]
    assert order == ["important", "soon", "late", "none", "nonsense"]


@virtual
async def test_a_pod_waits_for_what_may_help_it_and_for_nothing_else():
    queue = made()
    queue.put(pod("a"))
    queued, _ = await take(queue)
    queue.fail(queued, {"Picky"})
    await asyncio.sleep(50)
    queue.happened(POD_GONE)
    queue.happened(NODE_CHANGED)
    await nothing_comes(queue)
    queue.happened(NODE_ADDED)
    before = now()
    assert (await take(queue))[1] == "a"
    assert now() == before


@virtual
async def test_a_hint_decides_for_each_pod():
    queue = made()
    queue.put(pod("a", labels={"hint": "no"}))
    queue.put(pod("b"))
    for _ in range(2):
        queue.fail((await take(queue))[0], {"Picky"})
    queue.happened(NODE_ADDED)
    assert (await take(queue))[1] == "b"
    await nothing_comes(queue)


@virtual
async def test_of_very_many_waiting_pods_all_are_tried_again(monkeypatch):
    monkeypatch.setattr(module, "HINTS_AT_ONCE", 3)
    queue = made()
    for number in range(10):
        queue.put(pod(f"p{number}", uid=f"p{number}"))
        queue.fail((await take(queue))[0], {"Picky", "Fussy"})
    queue.happened(NODE_ADDED)
    queue.remove("p9")
    await asyncio.sleep(0.1)
    assert {(await take(queue))[1] for _ in range(9)} == {f"p{number}" for number in range(9)}
    await nothing_comes(queue)


@virtual
async def test_what_helps_against_one_of_several_plugins_is_worth_an_attempt():
    queue = made()
    queue.put(pod("a"))
    queue.fail((await take(queue))[0], {"Picky", "Fussy"})
    queue.happened(POD_GONE)
    assert (await take(queue))[1] == "a"


@virtual
async def test_help_that_comes_during_the_attempt_is_not_lost():
    queue = made()
    queue.put(pod("a"))
    queued, _ = await take(queue)
    queue.happened(NODE_ADDED)
    queue.fail(queued, {"Picky"})
    assert (await take(queue))[1] == "a"
    queue.fail(queued, {"Picky"})
    await nothing_comes(queue)  # it was for that attempt


@virtual
async def test_an_event_reaches_every_pod_that_was_under_way():
    queue = made()
    for name in "ab":
        queue.put(pod(name))
    first, _ = await take(queue)
    queue.happened(NODE_CHANGED)
    second, _ = await take(queue)
    queue.happened(NODE_ADDED)
    queue.done(first)
    queue.fail(second, {"Picky"})
    assert (await take(queue))[0] is second


@virtual
async def test_where_nothing_else_is_to_be_done_the_back_off_is_not_waited_for():
    queue = made()
    queue.put(pod("a"))
    queue.fail((await take(queue))[0], {"Picky"})
    queue.happened(NODE_ADDED)
    queue.put(pod("b"))
    assert queue.count(Place.BACKING_OFF) == 1
    assert [(await take(queue))[1] for _ in range(2)] == ["b", "a"]
    assert now() == pytest.approx(PAUSE_SECONDS)


@virtual
async def test_after_errors_the_back_off_doubles_up_to_ten_seconds():
    queue = made()
    queue.put(pod("a"))
    waits = []
    for _ in range(6):
        queued, _ = await take(queue)
        start = now()
        queue.fail(queued, None)
        queued, _ = await take(queue)
        waits.append(now() - start)
        queue.fail(queued, {"Picky"})
        queued.errors = len(waits)
        queue.activate(queued.pod.uid)
    assert waits == [1, 2, 4, 8, 10, 10]


@virtual
async def test_a_pods_own_change_makes_it_come_again_where_it_helps():
    queue = made()
    queue.put(pod("a", uid="u"))
    queue.fail((await take(queue))[0], {"Picky"})
    await asyncio.sleep(20)
    queue.put(pod("a", uid="u", priority=7))
    await nothing_comes(queue)
    queue.put(pod("a", uid="u", priority=7, labels={"x": "y"}))
    queued, _ = await take(queue)
    assert queued.pod.priority == 7


@virtual
async def test_what_the_scheduler_wrote_itself_does_not():
    queue = made()
    queue.put(pod("a", uid="u"))
    queued, _ = await take(queue)
    queue.fail(queued, {"Picky"})
    newer = pod("a", uid="u")
    queue.refresh(newer)
    await nothing_comes(queue)
    assert queued.pod is newer


@virtual
async def test_a_gated_pod_waits_for_its_own_change_without_a_timer():
    queue = made()
    queue.put(pod("a", uid="u", schedulingGates=[{"name": "g"}, {"name": "h"}]))
    for event in (NODE_ADDED, NODE_CHANGED, POD_GONE):
        queue.happened(event)
    assert queue._timer is None
    queue.put(pod("a", uid="u", schedulingGates=[{"name": "h"}]))
    assert queue.count(Place.UNSCHEDULABLE) == 1
    queue.put(pod("a", uid="u"))
    queued, name = await take(queue)
    assert (name, queued.attempts) == ("a", 1)


@virtual
async def test_where_pods_wait_is_counted():
    queue = made()
    for name in ("tried", "failed", "waiting", "gated"):
        gates = [{"name": "g"}] if name == "gated" else []
        queue.put(pod(name, schedulingGates=gates))
    queue.fail((await take(queue))[0], {"Picky"})
    queue.fail((await take(queue))[0], None)
    assert queue.numbers() == {"active": 1, "backoff": 1, "gated": 1, "unschedulable": 1}


@virtual
async def test_a_plugin_may_hold_a_pod_back_until_an_event():
    queue = made()
    queue.put(pod("a", uid="u", labels={"gated": "1"}))
    queue.happened(POD_GONE)
    await nothing_comes(queue)
    queue.refresh(pod("a", uid="u"))
    queue.happened(POD_GONE)
    assert (await take(queue))[1] == "a"


@virtual
async def test_a_pod_is_activated_on_demand():
    queue = made()
    queue.put(pod("a", uid="u"))
    queue.fail((await take(queue))[0], {"Picky"})
    queue.activate("u")
    queue.activate("unknown")
    assert (await take(queue))[1] == "a"


@virtual
async def test_a_pod_that_is_gone_does_not_come():
    queue = made()
    for name in ("a", "b"):
        queue.put(pod(name, uid=name))
    queue.remove("a")
    queued, name = await take(queue)
    assert name == "b"
    queue.remove("b")
    queue.fail(queued, None)
    assert len(queue) == 0


@virtual
async def test_a_stuck_pod_is_tried_again_after_all():
    queue = made()
    queue.put(pod("a"))
    queue.fail((await take(queue))[0], {"Picky"})
    await take(queue)
    assert now() == STUCK_SECONDS


@virtual
async def test_an_empty_queue_has_no_timer():
    queue = made()
    queue.put(pod("a"))
    queue.done((await take(queue))[0])
    assert queue._timer is None
    assert len(queue) == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "label", "remove", "take", "fail", "error", "done", "node", "gone", "wait"]
        ),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_no_pod_is_lost_whatever_happens_in_whatever_order(steps):
    run(_no_pod_is_lost(steps))


class Story:
    """A queue and which pods should be in it."""

    def __init__(self):
        self.queue = made()
        self.alive = {}
        self.taken = []
        self.number = 0

    async def put(self, uid):
        self.alive[uid] = pod(uid, uid=uid)
        self.queue.put(self.alive[uid])

    async def label(self, uid):
        if uid in self.alive:
            self.number += 1
            self.queue.put(pod(uid, uid=uid, labels={"x": str(self.number)}))

    async def remove(self, uid):
        self.alive.pop(uid, None)
        self.queue.remove(uid)

    async def take(self, _):
        if self.queue.count(Place.ACTIVE) or self.queue.count(Place.BACKING_OFF):
            self.taken.append(await self.queue.get())

    async def fail(self, _):
        if self.taken:
            self.queue.fail(self.taken.pop(0), {"Picky"})

    async def error(self, _):
        if self.taken:
            self.queue.fail(self.taken.pop(0), None)

    async def done(self, _):
        if self.taken:
            queued = self.taken.pop(0)
            if self.queue._pods.get(queued.pod.uid) is queued:
                self.alive.pop(queued.pod.uid, None)
            self.queue.done(queued)

    async def node(self, _):
        self.queue.happened(NODE_ADDED)

    async def gone(self, _):
        self.queue.happened(pod_event(Action.DELETE, pod("other"), None))

    async def wait(self, _):
        await asyncio.sleep(3)


async def _no_pod_is_lost(steps):
    story = Story()
    queue, alive = story.queue, story.alive
    for what, which in steps:
        await getattr(story, what)(f"u{which}")
        assert len(queue) == len(alive)
    for queued in story.taken:
        queue.fail(queued, {"Picky"})
    queue.happened(NODE_ADDED)
    found = set()
    while len(queue):
        queued = await asyncio.wait_for(queue.get(), 100)
        found.add(queued.pod.uid)
        queue.done(queued)
    assert found == alive.keys()
    assert not queue._remembered.events
    assert not queue._blocked
    queue.close()
