"""Cron jobs, with controllers for which a minute passes whenever a test says so."""

import itertools
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import get, owners_of
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Settings
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from minikube_py.server.controllers import cronjob, garbage_collector, job, serviceaccount
from minikube_py.server.controllers.run import run_controllers
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.integration.conformance.api import Api
from tests.integration.conformance.workloads.conftest import Cluster, Space
from tests.integration.conformance.workloads.nodes import Nodes
from tests.integration.conformance.workloads.shapes import names, template
from tests.integration.conformance.workloads.warping import WarpingClock
from tests.integration.conftest import running
from tests.integration.patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOOPS = (
    cronjob.CONTROLLER,
    job.CONTROLLER,
    garbage_collector.CONTROLLER,
    serviceaccount.CONTROLLER,
)


class Times(NamedTuple):
    """A namespace, and the clock of the controllers."""

    space: Space
    clock: WarpingClock

    async def create(self, policy: str, **spec: Any) -> str:
        """Create a cron job that is due every minute; return its path."""
        jobs = {"spec": {"template": template(restart="OnFailure")}}
        made = {"schedule": "*/1 * * * ?", "concurrencyPolicy": policy, "jobTemplate": jobs}
        body = {"metadata": {"name": "cron"}, "spec": {**made, **spec}}
        await self.space.api.create(self.space.batch("cronjobs"), body)
        return self.space.batch("cronjobs/cron")

    async def until_active(self, path: str, good: Any) -> list[str]:
        """Return the names of the jobs that run, as soon as they are good."""

        def named(shown: Any) -> list[str]:
            return [str(one["name"]) for one in get(shown, "status.active") or ()]

        return named(await self.space.api.until(path, lambda shown: good(named(shown))))

    async def running(self) -> list[str]:
        """Return the names of the jobs that are not over."""
        jobs = (await self.space.api.get(self.space.batch("jobs")))["items"]
        return names([one for one in jobs if get(one, "status.active") and owners_of(one)])

    async def reasons(self) -> list[str]:
        """Return what the events of the cron job say."""
        events = (await self.space.api.get(self.space.core("events")))["items"]
        return [one["reason"] for one in events if one["involvedObject"]["kind"] == "CronJob"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minutes(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Cluster, WarpingClock]]:
    """Run a control plane whose controllers have a clock of their own."""
    folder = tmp_path_factory.mktemp("cluster")
    async with (
        running(folder) as server,
        Nursery("loops") as nursery,
        Informers(server.client, SystemClock()) as informers,
    ):
        clock = WarpingClock()
        loops = run_controllers(server.app.loopback, Scheme(BUILTIN), clock, Settings(), LOOPS)
        nursery.start("controllers", loops)
        nursery.start("scheduler", Scheduler(server.client, informers, SystemClock()).run())
        nodes = Nodes(server.client, informers, nursery)
        await nodes.start("n1")
        api = Api(server, folder / "kubeconfig.yaml")
        yield Cluster(api, nodes, itertools.count(1)), clock


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(minutes: tuple[Cluster, WarpingClock]) -> Cluster:
    return minutes[0]


@pytest_asyncio.fixture(loop_scope="module")
async def times(space: Space, minutes: tuple[Cluster, WarpingClock]) -> Times:
    return Times(space, minutes[1])


@pytest.mark.conformance("CronJob should schedule multiple jobs concurrently")
async def test_jobs_may_run_beside_each_other(times: Times) -> None:
    path = await times.create("Allow")
    for count in (1, 2):
        times.clock.forward(60)
        active = await times.until_active(path, lambda jobs, count=count: len(jobs) >= count)
    assert set(active) <= set(await eventually(times.running, lambda jobs: len(jobs) >= 2))
    await times.space.api.delete(path, "Foreground")
    await times.space.api.until_gone(path)


@pytest.mark.conformance("CronJob should not schedule jobs when suspended")
async def test_a_cron_job_that_is_suspended_starts_nothing(times: Times) -> None:
    path = await times.create("Allow", suspend=True)
    times.clock.forward(300)
    await times.space.api.patch(path, {"metadata": {"labels": {"looked": "at"}}})
    assert await times.space.api.names(times.space.batch("jobs")) == []
    times.clock.forward(60)
    await times.space.api.patch(path, {"spec": {"suspend": False}})
    assert len(await times.until_active(path, lambda jobs: len(jobs) == 1)) == 1


@pytest.mark.conformance("CronJob should not schedule new jobs when ForbidConcurrent")
async def test_a_job_that_runs_may_keep_the_next_from_starting(times: Times) -> None:
    path = await times.create("Forbid")
    times.clock.forward(60)
    active = await times.until_active(path, lambda jobs: len(jobs) == 1)
    times.clock.forward(60)
    await eventually(times.reasons, lambda told: "JobAlreadyActive" in told)
    assert await times.running() == active
    assert await times.space.api.names(times.space.batch("jobs")) == active


@pytest.mark.conformance("CronJob should replace jobs when ReplaceConcurrent")
async def test_a_job_that_runs_may_be_replaced_by_the_next(times: Times) -> None:
    path = await times.create("Replace")
    times.clock.forward(60)
    first = await times.until_active(path, lambda jobs: len(jobs) == 1)
    times.clock.forward(60)
    await times.until_active(path, lambda jobs: len(jobs) == 1 and jobs != first)
    jobs = times.space.batch("jobs")
    await eventually(
        lambda: times.space.api.names(jobs), lambda there: len(there) == 1 and there != first
    )
