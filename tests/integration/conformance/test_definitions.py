"""CustomResourceDefinitions as objects: made, watched, listed, their status, their defaults."""

from typing import Any

import pytest

from minikube_py.api.object import evolve
from tests.integration.conformance.api import Api
from tests.integration.test_custom_kinds import CRDS, GROUP, TABS, crd, tab, version

ONE = f"{CRDS}/crontabs.{GROUP}"


def labelled(n: int) -> dict[str, Any]:
    made = crd(plural=f"kinds{n}", kind=f"Kind{n}", shortNames=[])
    return {**made, "metadata": {**made["metadata"], "labels": {"group": "x"}}}


@pytest.mark.conformance(
    "CustomResourceDefinition resources Simple CustomResourceDefinition creating/deleting...",
    "CustomResourceDefinition Watch CustomResourceDefinition Watch watch on custom...",
)
async def test_a_definition_is_made_watched_and_deleted(api: Api) -> None:
    async with api.watch(CRDS, fieldSelector=f"metadata.name=crontabs.{GROUP}") as watcher:
        await api.create(CRDS, crd())
        assert (await watcher.next()).type == "ADDED"
        await api.until(TABS)
        async with api.watch(TABS) as objects:
            await api.create(TABS, tab())
            assert (await objects.next()).type == "ADDED"
            await api.patch(f"{TABS}/a", {"spec": {"replicas": 3}})
            assert (await objects.next()).type == "MODIFIED"
            await api.delete(f"{TABS}/a")
            assert (await objects.next()).type == "DELETED"
        await api.delete(ONE)
        while (event := await watcher.next()).type == "MODIFIED":
            pass
        assert event.type == "DELETED"
    await api.until_gone(ONE)
    assert (await api.call("GET", TABS)).status == 404


@pytest.mark.conformance(
    "CustomResourceDefinition resources Simple CustomResourceDefinition listing...",
)
async def test_definitions_are_listed_and_deleted_by_their_labels(api: Api) -> None:
    await api.create(CRDS, crd())
    for n in range(10):
        await api.create(CRDS, labelled(n))
    chosen = f"{CRDS}?labelSelector=group=x"
    assert await api.names(chosen) == [f"kinds{n}.{GROUP}" for n in range(10)]
    await api.delete(chosen)
    await api.until(chosen, lambda found: found["items"] == [])
    assert await api.names(CRDS) == [f"crontabs.{GROUP}"]


@pytest.mark.conformance(
    "CustomResourceDefinition resources Simple CustomResourceDefinition getting/updating...",
)
async def test_the_status_of_a_definition_is_read_and_written(api: Api) -> None:
    await api.create(CRDS, crd())
    await api.until(TABS)
    shown = await api.get(f"{ONE}/status")
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "updated"}
    conditions = [*shown["status"]["conditions"], condition]
    updated = await api.put(f"{ONE}/status", evolve(shown, "status.conditions", conditions))
    assert updated["status"]["conditions"][-1]["message"] == "updated"
    patched = await api.patch(
        f"{ONE}/status", {"status": {"conditions": [*conditions, {**condition, "type": "Patched"}]}}
    )
    assert [c["type"] for c in patched["status"]["conditions"]][-2:] == ["StatusUpdate", "Patched"]
    assert (await api.get(ONE))["status"]["conditions"] == patched["status"]["conditions"]


def versions(properties: Any) -> list[dict[str, Any]]:
    spec = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    return [version(schema={"openAPIV3Schema": spec})]


@pytest.mark.conformance(
    "CustomResourceDefinition resources custom resource defaulting for requests and from...",
)
async def test_defaults_reach_requests_and_what_is_stored(api: Api) -> None:
    text = {"type": "string"}
    await api.create(CRDS, crd(*versions({"a": text, "b": text})))
    await api.until(TABS)
    await api.create(TABS, tab(spec={}))
    assert (await api.get(f"{TABS}/a"))["spec"] == {}
    await api.patch(
        ONE, {"spec": {"versions": versions({"a": {**text, "default": "A"}, "b": text})}}
    )
    await api.until(f"{TABS}/a", lambda found: found["spec"] == {"a": "A"})
    made = await api.create(TABS, tab("b", spec={}))
    assert made["spec"] == {"a": "A"}
    await api.patch(
        ONE, {"spec": {"versions": versions({"a": text, "b": {**text, "default": "B"}})}}
    )
    await api.until(f"{TABS}/b", lambda found: found["spec"] == {"a": "A", "b": "B"})
    await api.until(f"{TABS}/a", lambda found: found["spec"] == {"b": "B"})
