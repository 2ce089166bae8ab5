"""Cron jobs: when they start a job, which one, and what becomes of finished ones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import cron
from minikube_py.api.batch import CRONJOBS, JOBS
from minikube_py.api.object import Key
from minikube_py.server.controllers import cronjob
from minikube_py.server.controllers.cronjob_schedule import Times, due, times_of
from tests.harness import harness
from tests.virtual_time import run, settle

START = datetime(2026, 1, 1, tzinfo=UTC)
TEMPLATE = {
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        }
    }
}


def made(schedule="* * * * *", **spec):
    metadata = {
        "name": "x",
        "namespace": "d",
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return CRONJOBS.default(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": metadata,
            "spec": {"schedule": schedule, "jobTemplate": TEMPLATE, **spec},
        }
    )


@given(
    schedule=st.sampled_from(["* * * * *", "0-5 0 * * *", "*/7 3 * * 1", "@every 90s", "@hourly"]),
    minutes=st.integers(0, 4000),
)
def test_the_time_that_is_due_is_the_last_of_all_that_have_come(schedule, minutes):
    now = START + timedelta(minutes=minutes, seconds=30)
    times = Times(cron.parse(schedule))
    last, moment = None, times.next(START)
    while moment <= now:
        last, moment = moment, times.next(moment)
    assert due(made(schedule), times, now).time == last


def test_what_is_older_than_the_starting_deadline_is_not_started():
    late = made("0 * * * *", startingDeadlineSeconds=60)
    assert due(late, times_of(late), START + timedelta(minutes=62)).time is None
    assert due(late, times_of(late), START + timedelta(seconds=3630)).time is not None


def test_a_job_is_called_by_its_minute_and_says_its_time_in_the_zone():
    job = cronjob.job_for(made(timeZone="Europe/Berlin"), START)
    assert job["metadata"]["name"] == f"x-{int(START.timestamp()) // 60}"
    assert job["metadata"]["annotations"] == {cronjob.SCHEDULED: "2026-01-01T01:00:00+01:00"}


async def started(world, **spec):
    world.run(cronjob.CONTROLLER)
    await world.client.create(CRONJOBS, made(**spec))


def jobs(world):
    return [job["metadata"]["name"] for job in world.cluster.objects(JOBS)]


async def end(world, name, kind="Complete"):
    job = await world.client.get(JOBS, name, "d")
    now = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now}],
        "startTime": now,
        "completionTime": now,
    }
    await world.client.update(JOBS, {**job, "status": status}, subresource="status")


@pytest.mark.parametrize(
    ("spec", "count", "active"),
    [
        ({}, 5, 5),
        ({"concurrencyPolicy": "Forbid"}, 1, 1),
        ({"concurrencyPolicy": "Replace"}, 1, 1),
        ({"suspend": True}, 0, 0),
    ],
)
def test_jobs_that_never_end_gather_as_the_policy_says(spec, count, active):
    async def scenario():
        async with harness() as world:
            await started(world, **spec)
            await settle(330)
            assert len(jobs(world)) == count
            found = world.cluster.table(CRONJOBS)[Key("d", "x")].obj["status"]
            assert len(found.get("active", ())) == active

    run(scenario())


def test_finished_jobs_are_kept_up_to_the_limit_and_noted():
    async def scenario():
        async with harness() as world:
            await started(world)
            for _ in range(6):
                await settle(61)
                for name in jobs(world):
                    if (
                        not (await world.client.get(JOBS, name, "d"))
                        .get("status", {})
                        .get("conditions")
                    ):
                        await end(world, name)
            await settle(10)
            assert len(jobs(world)) == 3
            status = world.cluster.table(CRONJOBS)[Key("d", "x")].obj["status"]
            assert not status.get("active")
            assert status["lastSuccessfulTime"] >= status["lastScheduleTime"]
            lines = list(world.settings.tallies.lines())
            name = "cronjob_controller_job_creation_skew_duration_seconds"
            assert f"{name}_count 6" in lines
            assert f'{name}_bucket{{le="1"}} 6' in lines

    run(scenario())
