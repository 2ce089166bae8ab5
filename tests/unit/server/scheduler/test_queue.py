"""The queue: priorities, back-off, cures, gates, and no timer without need."""

import asyncio

import pytest

from minikube_py.server.scheduler.framework import Change
from minikube_py.server.scheduler.queue import STUCK_SECONDS, SchedulingQueue
from tests.unit.server.scheduler.builders import pod
from tests.virtual_time import VirtualClock, virtual


def now():
    return asyncio.get_running_loop().time()


async def take(queue):
    waiting = await asyncio.wait_for(queue.get(), 10_000)
    return waiting, waiting.pod.key.name


@virtual
async def test_the_most_important_pod_comes_first_then_the_oldest():
    queue = SchedulingQueue(VirtualClock())
    for name, priority in (("a", 0), ("b", 10), ("c", 0)):
        queue.put(pod(name, priority=priority))
        await asyncio.sleep(1)
    assert [(await take(queue))[1] for _ in range(3)] == ["b", "a", "c"]


@virtual
async def test_a_pod_waits_for_what_may_cure_it_and_for_nothing_else():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a"))
    waiting, _ = await take(queue)
    queue.fail(waiting, {Change.NODE_ADDED})
    await asyncio.sleep(50)
    queue.happened(Change.POD_GONE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 50)
    queue.happened(Change.NODE_ADDED)
    before = now()
    assert (await take(queue))[1] == "a"
    assert now() == before


@virtual
async def test_a_cure_during_the_attempt_is_not_lost():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a"))
    waiting, _ = await take(queue)
    queue.happened(Change.NODE_ADDED)
    queue.fail(waiting, {Change.NODE_ADDED})
    assert (await take(queue))[1] == "a"
    assert now() == 1


@virtual
async def test_the_back_off_doubles_up_to_ten_seconds():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a"))
    waits = []
    for _ in range(6):
        waiting, _ = await take(queue)
        start = now()
        queue.fail(waiting, {Change.POD_GONE})
        queue.happened(Change.POD_GONE)
        await take(queue)
        waits.append(now() - start)
        queue._waiting[waiting.pod.uid].attempts -= 1
        queue.fail(waiting, None)
    assert waits == [1, 2, 4, 8, 10, 10]


@virtual
async def test_a_pods_own_change_makes_it_come_again():
    queue = SchedulingQueue(VirtualClock())
    one = pod("a", uid="u")
    queue.put(one)
    waiting, _ = await take(queue)
    queue.fail(waiting, {Change.NODE_ADDED})
    await asyncio.sleep(20)
    queue.put(pod("a", uid="u", priority=7))
    waiting, _ = await take(queue)
    assert waiting.pod.priority == 7


@virtual
async def test_what_the_scheduler_wrote_itself_does_not():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a", uid="u"))
    waiting, _ = await take(queue)
    queue.fail(waiting, {Change.NODE_ADDED})
    newer = pod("a", uid="u")
    queue.refresh(newer)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 50)
    assert waiting.pod is newer


@virtual
async def test_a_gated_pod_waits_for_its_own_change_without_a_timer():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a", uid="u", schedulingGates=[{"name": "g"}]))
    waiting, _ = await take(queue)
    queue.gate(waiting)
    for change in Change:
        queue.happened(change)
    assert queue._timer is None
    queue.put(pod("a", uid="u"))
    assert (await take(queue))[1] == "a"


@virtual
async def test_a_pod_that_is_gone_does_not_come():
    queue = SchedulingQueue(VirtualClock())
    for name in ("a", "b"):
        queue.put(pod(name, uid=name))
    queue.remove("a")
    waiting, name = await take(queue)
    assert name == "b"
    queue.remove("b")
    queue.fail(waiting, None)
    assert len(queue) == 0


@virtual
async def test_a_stuck_pod_is_tried_again_after_all():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a"))
    waiting, _ = await take(queue)
    queue.fail(waiting, {Change.NODE_ADDED})
    await take(queue)
    assert now() == STUCK_SECONDS


@virtual
async def test_an_empty_queue_has_no_timer():
    queue = SchedulingQueue(VirtualClock())
    queue.put(pod("a"))
    waiting, _ = await take(queue)
    queue.done(waiting)
    assert queue._timer is None
    assert len(queue) == 0
