"""Work queues: once in the queue, one worker a key, delays and back-off."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.client.workqueue import WorkQueue
from minikube_py.lib.backoff import Backoff
from tests.virtual_time import VirtualClock, run, virtual


@virtual
async def test_a_key_that_is_added_twice_is_handled_once():
    queue = WorkQueue(VirtualClock())
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


@virtual
async def test_a_key_that_is_added_while_it_is_handled_comes_again_afterwards():
    queue = WorkQueue(VirtualClock())
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"


@virtual
async def test_a_delayed_key_comes_when_its_time_is_there():
    queue = WorkQueue(VirtualClock())
    queue.add_after("late", 60)
    queue.add_after("soon", 5)
    loop = asyncio.get_running_loop()
    assert await queue.get() == "soon"
    assert loop.time() == 5
    assert await queue.get() == "late"
    assert loop.time() == 60


@virtual
async def test_the_earliest_of_several_delays_counts_and_counts_once():
    queue = WorkQueue(VirtualClock())
    queue.add_after("a", 60)
    queue.add_after("a", 10)
    queue.add_after("a", 30)
    await queue.get()
    queue.done("a")
    assert asyncio.get_running_loop().time() == 10
    await asyncio.sleep(100)
    assert queue.idle
    assert queue.delayed == 0


@virtual
async def test_failures_in_a_row_wait_longer_until_forgotten():
    queue = WorkQueue(VirtualClock(), Backoff(first_seconds=1, max_seconds=8))
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(5):
        start = loop.time()
        queue.retry("a")
        queue.done(await queue.get())
        waits.append(loop.time() - start)
    queue.forget("a")
    start = loop.time()
    queue.retry("a")
    await queue.get()
    assert waits == [1, 2, 4, 8, 8]
    assert loop.time() - start == 1


@virtual
async def test_a_queue_that_is_closed_leaves_no_timer():
    queue = WorkQueue(VirtualClock())
    queue.add_after("a", 60)
    queue.close()
    await asyncio.sleep(100)
    assert queue.idle


@given(
    added=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), max_size=30),
    workers=st.integers(1, 4),
)
def test_no_key_is_ever_handled_by_two_workers_and_none_is_lost(added, workers):
    async def scenario():
        clock = VirtualClock()
        queue = WorkQueue(clock)
        busy, seen = Counter(), Counter()

        async def work():
            while True:
                key = await queue.get()
                busy[key] += 1
                assert busy[key] == 1
                await asyncio.sleep(1.5)
                busy[key] -= 1
                seen[key] += 1
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key, wait in added:
            await asyncio.sleep(wait / 4)
            queue.add_after(key, wait)
        await asyncio.sleep(200)
        assert queue.idle
        assert set(seen) == {key for key, _ in added}
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(scenario())


@virtual
async def test_what_comes_while_a_key_rests_is_handled_once_when_the_rest_is_over():
    queue = WorkQueue(VirtualClock())
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.done(key, rest=5)
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    assert await queue.get() == "a"
    assert asyncio.get_running_loop().time() == 5
    queue.done("a")
    queue.done("b")
    await asyncio.sleep(100)
    assert queue.idle


@virtual
async def test_a_rest_that_nobody_disturbs_sets_no_timer_and_is_forgotten():
    queue = WorkQueue(VirtualClock())
    for key in ("a", "b"):
        queue.add(key)
        queue.done(await queue.get(), rest=1)
    assert queue.delayed == 0
    await asyncio.sleep(2)
    queue.add("c")
    queue.done(await queue.get())
    assert queue._rests == {}
    queue.add("a")
    assert len(queue) == 1


@virtual
async def test_a_queue_knows_how_long_keys_wait_and_are_worked_on():
    queue = WorkQueue(VirtualClock())
    queue.add("a")
    await asyncio.sleep(3)
    assert await queue.get() == "a"
    assert (queue.waits.count, queue.waits.sum) == (1, 3)
    await asyncio.sleep(2)
    assert queue.busy_seconds() == [2]
    queue.done("a")
    assert queue.busy_seconds() == []
