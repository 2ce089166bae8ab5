"""Daemon sets: a pod on every node that fits, replaced one by one."""

import json
from typing import Any

import pytest

from minikube_py.api.object import get, labels_of
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.nodes import Fate
from tests.integration.conformance.workloads.shapes import (
    all_ready,
    images,
    names,
    status,
    template,
    workload,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
HASH = "controller-revision-hash"
PROTOBUF = "application/vnd.kubernetes.protobuf"
STRATEGIC = "application/strategic-merge-patch+json"


async def create(space: Space, **spec: Any) -> str:
    """Create a daemon set; return its path."""
    await space.api.create(space.apps("daemonsets"), workload("ds", **spec))
    return space.apps("daemonsets/ds")


async def change_image(space: Space, path: str, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await space.api.patch(path, patch, STRATEGIC)


async def history(space: Space, count: int) -> list[Any]:
    """Wait for so many revisions; return them, oldest first."""
    path = space.apps("controllerrevisions?labelSelector=app%3Dweb")
    found = await space.api.until(path, lambda shown: len(shown["items"]) == count)
    return sorted(found["items"], key=lambda one: int(one["revision"]))


async def are_current(space: Space, path: str) -> list[int]:
    """Return the numbers of the revisions that are the daemon set's by their text.

    The text is what Go makes of the template: clients know a revision by it.
    """
    spec = {"template": {**(await space.api.get(path))["spec"]["template"], "$patch": "replace"}}
    text = json.dumps({"spec": spec}, sort_keys=True, separators=(",", ":")).replace("&", "\\u0026")
    answer = await space.api.call("GET", space.apps("controllerrevisions"))
    found = (one for one in answer.body["items"] if one["data"]["spec"] == spec)
    assert f'"data":{text}' in answer.raw.decode()
    packed = await space.api.call("GET", space.apps("controllerrevisions"), accept=PROTOBUF)
    assert text.encode() in packed.raw
    return [int(one["revision"]) for one in found]


def on_both(pods: list[Any]) -> bool:
    """Tell whether a ready pod is on each node."""
    return all_ready(2)(pods) and {pod["spec"].get("nodeName") for pod in pods} == {"n1", "n2"}


@pytest.mark.conformance("Daemon set should run and stop simple daemon")
async def test_a_daemon_pod_that_is_deleted_comes_again(space: Space) -> None:
    path = await create(space)
    pods = await space.until_pods(on_both)
    wanted = status(desiredNumberScheduled=2, numberReady=2, numberAvailable=2)
    await space.api.until(path, wanted)
    gone = names(pods)[0]
    await space.api.delete(space.core(f"pods/{gone}"))
    await space.until_pods(lambda pods: on_both(pods) and gone not in names(pods))
    await space.api.delete(path, "Foreground")
    await space.until_pods(lambda pods: pods == [])


@pytest.mark.conformance("Daemon set should run and stop complex daemon")
async def test_daemon_pods_follow_the_labels_of_nodes(space: Space) -> None:
    path = await create(space, template=template(nodeSelector={space.name: "blue"}))
    shown = await space.api.until(path, status(observedGeneration=1, desiredNumberScheduled=0))
    assert await space.pods() == []
    await space.api.patch("/api/v1/nodes/n1", {"metadata": {"labels": {space.name: "blue"}}})
    (pod,) = await space.until_pods(all_ready(1))
    assert pod["spec"]["nodeName"] == "n1"
    await space.api.patch("/api/v1/nodes/n1", {"metadata": {"labels": {space.name: "green"}}})
    await space.until_pods(lambda pods: pods == [])
    patch = {
        "updateStrategy": {"type": "RollingUpdate"},
        "template": {"spec": {"nodeSelector": {space.name: "green"}}},
    }
    await space.api.patch(path, {"spec": patch}, STRATEGIC)
    (pod,) = await space.until_pods(all_ready(1))
    assert pod["spec"]["nodeName"] == "n1"
    shown = await space.api.until(path, status(numberAvailable=1, desiredNumberScheduled=1))
    assert get(shown, "status.updatedNumberScheduled") == 1


@pytest.mark.conformance("Daemon set should retry creating failed daemon pods")
async def test_a_daemon_pod_that_failed_is_replaced(space: Space) -> None:
    await create(space)
    pods = await space.until_pods(on_both)
    failed = names(pods)[0]
    there = space.core(f"pods/{failed}")
    await space.api.patch(f"{there}/status", {"status": {"phase": "Failed"}})
    await space.api.until_gone(there)
    assert failed not in names(await space.until_pods(on_both))


@pytest.mark.conformance("Daemon set should update pod when spec was updated and update...")
async def test_a_new_template_rolls_over_all_nodes(space: Space) -> None:
    container = {"name": "c", "image": "web:1", "command": ["sh", "-c", "true && sleep 1"]}
    spec = template(containers=[container])
    path = await create(space, updateStrategy={"type": "RollingUpdate"}, template=spec)
    (first,) = await history(space, 1)
    pods = await space.until_pods(on_both)
    assert await are_current(space, path) == [1]
    assert {labels_of(pod)[HASH] for pod in pods} == {labels_of(first)[HASH]}
    await change_image(space, path, "web:2")
    pods = await space.until_pods(lambda pods: on_both(pods) and images(pods) == ["web:2"] * 2)
    _, second = await history(space, 2)
    assert int(second["revision"]) == 2
    assert await are_current(space, path) == [2]
    assert {labels_of(pod)[HASH] for pod in pods} == {labels_of(second)[HASH]}
    await space.api.until(path, status(updatedNumberScheduled=2, numberAvailable=2))


@pytest.mark.conformance("Daemon set should rollback without unnecessary restarts")
async def test_a_rollback_leaves_pods_alone_that_were_not_updated(space: Space) -> None:
    space.decide(lambda pod, _: Fate(ready=images([pod]) == ["web:1"]))
    path = await create(space, updateStrategy={"type": "RollingUpdate"})
    before = await space.until_pods(on_both)
    await change_image(space, path, "foo:non-existent")
    pods = await space.until_pods(lambda pods: "foo:non-existent" in images(pods))
    kept = [pod["metadata"]["uid"] for pod in pods if images([pod]) == ["web:1"]]
    assert len(kept) == 1
    await change_image(space, path, "web:1")
    after = await space.until_pods(lambda pods: on_both(pods) and images(pods) == ["web:1"] * 2)
    uids = [{pod["metadata"]["uid"] for pod in pods} for pods in (before, after)]
    assert uids[0] & uids[1] == set(kept)
    revisions = await history(space, 2)
    assert [int(one["revision"]) for one in revisions] == [2, 3]


@pytest.mark.conformance("ControllerRevision should manage the lifecycle of a ControllerRevision")
async def test_revisions_that_others_write_count(space: Space) -> None:
    path = await create(space)
    await space.until_pods(on_both)
    (first,) = await history(space, 1)
    revisions = space.apps("controllerrevisions")
    other = {**first["metadata"], "name": "other", "labels": {**first["metadata"]["labels"]}}
    del other["resourceVersion"], other["uid"]
    other["labels"][HASH] = "other"
    made = {"metadata": other, "data": first["data"], "revision": 2}
    await space.api.create(revisions, made)
    await history(space, 2)
    await space.api.delete(f"{revisions}/{first['metadata']['name']}")
    (left,) = await history(space, 1)
    await space.api.put(f"{revisions}/other", {**left, "metadata": {**left["metadata"],
        "labels": {**left["metadata"]["labels"], "other": "updated"}}})  # fmt: skip
    patch = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
    await space.api.patch(path, patch, STRATEGIC)
    assert [int(one["revision"]) for one in await history(space, 2)] == [2, 3]
    await space.api.delete(f"{revisions}?labelSelector=other%3Dupdated")
    assert [int(one["revision"]) for one in await history(space, 1)] == [3]
