"""Jobs on nodes whose pods end as a test decides."""

from typing import Any

import pytest

from minikube_py.api.object import get
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.nodes import Fate
from tests.integration.conformance.workloads.shapes import condition, owners, status, template

pytestmark = pytest.mark.asyncio(loop_scope="module")
INDEX = "batch.kubernetes.io/job-completion-index"


def job(name: str = "job", *, restart: str = "Never", **spec: Any) -> dict[str, Any]:
    """Return a job as most tests have it: four completions, two at a time."""
    made = {"template": template(restart=restart), "parallelism": 2, "completions": 4, **spec}
    return {"metadata": {"name": name}, "spec": made}


def indexed(**spec: Any) -> dict[str, Any]:
    return job(completionMode="Indexed", **spec)


def index(pod: Any) -> int:
    return int(pod["metadata"]["annotations"][INDEX])


async def create(space: Space, body: Any) -> str:
    """Create a job; return its path."""
    await space.api.create(space.batch("jobs"), body)
    return space.batch(f"jobs/{body['metadata']['name']}")


async def until(space: Space, path: str, kind: str, reason: str) -> Any:
    """Wait for a condition with a reason; return the job."""

    def good(shown: Any) -> bool:
        found = condition(shown, kind)
        return bool((found.get("status"), found.get("reason")) == ("True", reason))

    return await space.api.until(path, good)


async def completed(space: Space, path: str, reason: str = "CompletionsReached") -> Any:
    await until(space, path, "SuccessCriteriaMet", reason)
    return await until(space, path, "Complete", reason)


async def failed(space: Space, path: str, reason: str) -> Any:
    await until(space, path, "FailureTarget", reason)
    return await until(space, path, "Failed", reason)


@pytest.mark.conformance("Job should create pods for an Indexed job with completion indexes...")
async def test_each_pod_of_an_indexed_job_has_an_index_and_a_host_name(space: Space) -> None:
    space.decide(lambda *_: Fate(code=0))
    await completed(space, await create(space, indexed()))
    pods = await space.pods("batch.kubernetes.io/job-name=job")
    assert sorted(map(index, pods)) == [0, 1, 2, 3]
    assert all(pod["spec"]["hostname"] == f"job-{index(pod)}" for pod in pods)


@pytest.mark.conformance("Job should run a job to completion when tasks sometimes fail and are...")
async def test_containers_that_fail_once_and_are_restarted_complete_a_job(space: Space) -> None:
    space.decide(lambda _, starts: Fate(code=int(starts == 0)))
    shown = await completed(space, await create(space, job(restart="OnFailure")))
    assert get(shown, "status.succeeded") == 4
    assert get(shown, "status.failed", 0) == 0


@pytest.mark.conformance("Job should execute all indexes despite some failing when using...")
async def test_every_index_has_its_own_attempts(space: Space) -> None:
    space.decide(lambda pod, _: Fate(code=index(pod) % 2))
    shown = await failed(
        space, await create(space, indexed(backoffLimitPerIndex=1)), "FailedIndexes"
    )
    found = shown["status"]
    assert (found["failedIndexes"], found["completedIndexes"]) == ("1,3", "0,2")
    assert (found["failed"], found["succeeded"]) == (4, 2)


@pytest.mark.conformance("Job should terminate job execution when the number of failed indexes...")
async def test_too_many_failed_indexes_end_a_job(space: Space) -> None:
    space.decide(lambda *_: Fate(code=1))
    body = indexed(parallelism=1, backoffLimitPerIndex=0, maxFailedIndexes=0)
    shown = await failed(space, await create(space, body), "MaxFailedIndexesExceeded")
    assert (shown["status"]["failedIndexes"], shown["status"]["failed"]) == ("0", 1)


@pytest.mark.conformance("Job should mark indexes as failed when the FailIndex action is...")
async def test_a_rule_may_give_up_an_index(space: Space) -> None:
    space.decide(lambda pod, _: Fate(code=index(pod) % 2))
    codes = {"operator": "In", "values": [1]}
    rules = {"rules": [{"action": "FailIndex", "onExitCodes": codes}]}
    body = indexed(completions=2, backoffLimitPerIndex=1, podFailurePolicy=rules)
    shown = await failed(space, await create(space, body), "FailedIndexes")
    found = shown["status"]
    assert (found["failedIndexes"], found["completedIndexes"]) == ("1", "0")
    assert (found["failed"], found["succeeded"]) == (1, 1)


@pytest.mark.conformance("Job should allow to use the pod failure policy on exit code to fail...")
async def test_a_rule_may_fail_the_job(space: Space) -> None:
    space.decide(lambda *_: Fate(code=1))
    codes = {"operator": "In", "values": [1]}
    rules = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
    shown = await failed(
        space, await create(space, job(podFailurePolicy=rules)), "PodFailurePolicy"
    )
    text = condition(shown, "Failed")["message"]
    assert text.endswith("failed with exit code 1 matching FailJob rule at index 0")


@pytest.mark.conformance("Job should allow to use a pod failure policy to ignore failure...")
async def test_a_pod_that_was_evicted_does_not_count(space: Space) -> None:
    evicted: set[int] = set()
    space.decide(lambda pod, _: Fate(code=0) if index(pod) in evicted else Fate())
    target = {"type": "DisruptionTarget", "status": "True"}
    rules = {"rules": [{"action": "Ignore", "onPodConditions": [target]}]}
    body = indexed(completions=2, backoffLimit=0, podFailurePolicy=rules)
    path = await create(space, body)
    await space.api.until(path, status(ready=2))
    for pod in await space.pods():
        evicted.add(index(pod))
        name = pod["metadata"]["name"]
        eviction = {"metadata": {"name": name, "namespace": space.name}}
        await space.api.create(space.core(f"pods/{name}/eviction"), eviction)
        await space.api.until_gone(space.core(f"pods/{name}"))
    shown = await completed(space, path)
    assert get(shown, "status.failed", 0) == 0


@pytest.mark.conformance(
    "Job with successPolicy should succeeded when all indexes succeeded",
    "Job with successPolicy succeededIndexes rule should succeeded even when some indexes...",
    "Job with successPolicy succeededCount rule should succeeded even when some indexes...",
)
@pytest.mark.parametrize(
    ("rule", "done"),
    [
        ({"succeededIndexes": "0,1"}, "0,1"),
        ({"succeededIndexes": "0"}, "0"),
        ({"succeededCount": 1}, "0"),
    ],
)
async def test_a_job_succeeds_by_its_policy(space: Space, rule: Any, done: str) -> None:
    needed = done.split(",")
    space.decide(lambda pod, _: Fate(code=0) if str(index(pod)) in needed else Fate())
    body = indexed(completions=2, successPolicy={"rules": [rule]})
    shown = await completed(space, await create(space, body), "SuccessPolicy")
    assert shown["status"]["completedIndexes"] == done
    assert shown["status"]["succeeded"] == len(needed)
    await space.until_pods(lambda pods: len(pods) == len(needed))


@pytest.mark.conformance("Job should delete a job")
async def test_a_job_goes_with_its_pods(space: Space) -> None:
    path = await create(space, job())
    await space.api.until(path, status(active=2, ready=2))
    await space.api.delete(path, "Foreground")
    await space.api.until_gone(path)
    assert await space.pods() == []


@pytest.mark.conformance("Job should adopt matching orphans and release non-matching pods")
async def test_orphans_are_adopted_and_strangers_released(space: Space) -> None:
    path = await create(space, job())
    await space.api.until(path, status(active=2, ready=2))
    pod = (await space.pods())[0]
    there = space.core(f"pods/{pod['metadata']['name']}")
    await space.api.patch(there, {"metadata": {"ownerReferences": None}})
    await space.api.until(there, lambda shown: owners(shown) == ["job"])
    await space.api.patch(there, {"metadata": {"labels": None}})
    await space.api.until(there, lambda shown: owners(shown) == [])


@pytest.mark.conformance("Job should manage the lifecycle of a job")
async def test_a_job_lives_its_life(space: Space) -> None:
    body = job("e2e", suspend=True)
    body["metadata"]["labels"] = {"e2e-job-label": space.name}
    path = await create(space, body)
    async with space.api.watch(space.batch("jobs"), labelSelector="e2e-job-label") as watcher:
        assert (await watcher.next()).type == "ADDED"
        await space.api.patch(path, {"metadata": {"labels": {"e2e": "patched"}}})
        await space.api.until(path, lambda one: one["metadata"]["labels"]["e2e"] == "patched")
        await space.api.until(path, lambda one: condition(one, "Suspended")["status"] == "True")
        shown = await space.api.get(path)
        shown["metadata"]["annotations"] = {"updated": "true"}
        shown["spec"]["suspend"] = False
        await space.api.put(path, shown)
        await space.api.until(path, lambda one: condition(one, "Suspended")["status"] == "False")
        selector = f"labelSelector=e2e-job-label%3D{space.name}"
        assert await space.api.names(f"/apis/batch/v1/jobs?{selector}") == ["e2e"]
        await space.api.delete(f"{space.batch('jobs')}?{selector}", "Background")
        await space.api.until_gone(path)
        while (await watcher.next()).type != "DELETED":
            pass
