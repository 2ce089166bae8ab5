"""Quotas are counted anew: what is written then, and what makes that look again."""

from typing import Any

import pytest

from minikube_py.api.core import (
    CONFIGMAPS,
    EVENTS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
)
from minikube_py.api.core.quota import amounts
from minikube_py.api.resource import Resource
from minikube_py.server.controllers.resourcequota import (
    CONTROLLER,
    RESYNC_SECONDS,
    _releases,
    is_countable,
    plan,
)
from tests.frozen import freeze
from tests.harness import World, harness
from tests.unit.server.controllers.builders import NOW, meta
from tests.virtual_time import settle, virtual


def quota(hard: dict[str, str], status: Any = None) -> Any:
    body = {"metadata": meta("q"), "spec": {"hard": hard}}
    return freeze({**body, "status": status} if status is not None else body)


def written(obj: Any, **counted: str) -> Any:
    actions = list(plan(obj, amounts(counted)))
    return actions[0].obj["status"] if actions else None


def test_limits_and_use_are_written() -> None:
    status = {"hard": {"pods": "2"}, "used": {"pods": "1"}}
    assert written(quota({"pods": "2"}), pods="1", services="3") == status
    assert written(quota({"pods": "2"}, status), pods="1") is None
    assert written(quota({"pods": "3"}, status), pods="1")["hard"] == {"pods": "3"}


def test_what_cannot_be_counted_keeps_its_use() -> None:
    hard = {"pods": "2", "count/widgets.example.com": "4"}
    status = {"hard": hard, "used": {"pods": "1", "count/widgets.example.com": "3"}}
    assert written(quota(hard, status), pods="0")["used"] == {
        "pods": "0",
        "count/widgets.example.com": "3",
    }


def test_names_that_are_not_limited_any_more_go() -> None:
    status = {"hard": {"pods": "2", "services": "1"}, "used": {"pods": "1", "services": "1"}}
    after = written(quota({"pods": "2"}, status), pods="1")
    assert after == {"hard": {"pods": "2"}, "used": {"pods": "1"}}


def test_events_and_what_is_not_stored_are_not_counted() -> None:
    assert is_countable(PODS)
    assert not is_countable(EVENTS)


def pod(cpu: str = "1", phase: str = "Running", **spec: Any) -> Any:
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    body = {"metadata": meta("p"), "spec": {"containers": containers, **spec}}
    return {**body, "status": {"phase": phase}}


def service(**spec: Any) -> Any:
    return {"metadata": meta("s"), "spec": {"type": "ClusterIP", "ports": [], **spec}}


def claim(cls: str = "", **status: Any) -> Any:
    spec = {"volumeAttributesClassName": cls} if cls else {}
    return {"metadata": meta("c"), "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("resource", "old", "new", "expected"),
    [
        (PODS, pod(), pod(), False),
        (PODS, pod(), pod(nodeName="n"), False),
        (PODS, pod(), pod(cpu="500m"), True),
        (PODS, pod(), pod(phase="Succeeded"), True),
        (PODS, pod(), pod(activeDeadlineSeconds=3), True),
        (SERVICES, service(), service(selector={"a": "b"}), False),
        (SERVICES, service(type="NodePort"), service(), True),
        (PERSISTENTVOLUMECLAIMS, claim(), claim(phase="Bound"), False),
        (PERSISTENTVOLUMECLAIMS, claim(), claim(allocatedResources={"storage": "2Gi"}), True),
        (PERSISTENTVOLUMECLAIMS, claim("gold"), claim("silver"), True),
        (CONFIGMAPS, {"data": {"a": "b"}}, {}, False),
    ],
)
def test_which_updates_make_room(resource: Resource, old: Any, new: Any, *, expected: bool) -> None:
    assert _releases(resource, freeze(old), freeze(new), NOW) is expected


async def used(world: World) -> Any:
    await settle()
    return world.cluster.objects(RESOURCEQUOTAS)[0].get("status", {}).get("used")


@virtual
async def test_room_is_made_by_deletions_and_additions_wait_for_admission_or_the_next_count() -> (
    None
):
    async with harness() as world:
        world.run(CONTROLLER)
        hard = {"count/configmaps": "4", "pods": "1"}
        body = {"metadata": {"name": "q", "namespace": "d"}, "spec": {"hard": hard}}
        await world.client.create(RESOURCEQUOTAS, body)
        assert await used(world) == {"count/configmaps": "0", "pods": "0"}
        for name in ("a", "b"):
            item = {"metadata": {"name": name, "namespace": "d"}}
            await world.client.create(CONFIGMAPS, item)
        assert (await used(world))["count/configmaps"] == "0"
        await world.client.delete(CONFIGMAPS, "a", "d")
        assert (await used(world))["count/configmaps"] == "1"
        await world.client.create(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "d"}})
        await world.clock.sleep(RESYNC_SECONDS + 1)
        assert (await used(world))["count/configmaps"] == "2"


@virtual
async def test_new_limits_are_counted_at_once() -> None:
    async with harness() as world:
        world.run(CONTROLLER)
        await world.client.create(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "d"}})
        body = {"metadata": {"name": "q", "namespace": "d"}, "spec": {"hard": {"pods": "1"}}}
        made = await world.client.create(RESOURCEQUOTAS, body)
        assert await used(world) == {"pods": "0"}
        patch = {"spec": {"hard": {"count/configmaps": "4"}}}
        await world.client.patch(RESOURCEQUOTAS, made["metadata"]["name"], patch, "d")
        assert await used(world) == {"pods": "0", "count/configmaps": "1"}
