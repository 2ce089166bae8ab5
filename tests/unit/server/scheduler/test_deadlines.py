"""Deadlines that pass are told once, with one timer and none without need."""

import asyncio

from minikube_py.server.scheduler.deadlines import Deadlines
from tests.unit.server.scheduler.builders import pod
from tests.virtual_time import VirtualClock, virtual


def made():
    told = []
    clock = VirtualClock()
    return Deadlines(clock, lambda one: told.append(one.key.name)), told


@virtual
async def test_each_deadline_that_passes_is_told_once():
    deadlines, told = made()
    deadlines.watch(pod("second", uid="2", deadline="2026-01-01T02:00:00Z"))
    deadlines.watch(pod("first", uid="1", deadline="2026-01-01T01:00:00Z"))
    deadlines.watch(pod("none", uid="0"))
    await asyncio.sleep(3599)
    assert told == []
    await asyncio.sleep(2)
    assert told == ["first"]
    deadlines.watch(pod("first", uid="1", deadline="2026-01-01T01:00:00Z"))
    await asyncio.sleep(100_000)
    assert told == ["first", "second"]
    assert deadlines._timer is None


@virtual
async def test_a_pod_that_is_placed_or_gets_more_time_is_not_told_of():
    deadlines, told = made()
    for uid in ("placed", "later", "freed"):
        deadlines.watch(pod(uid, uid=uid, deadline="2026-01-01T01:00:00Z"))
    deadlines.forget("placed")
    deadlines.watch(pod("later", uid="later", deadline="2026-01-01T05:00:00Z"))
    deadlines.watch(pod("freed", uid="freed"))
    await asyncio.sleep(4 * 3600)
    assert told == []
    deadlines.forget("later")
    assert deadlines._timer is None


@virtual
async def test_a_deadline_that_is_over_already_is_told_at_once():
    deadlines, told = made()
    deadlines.watch(pod("late", deadline="2025-12-31T00:00:00Z"))
    assert told == ["late"]
