"""Long lists in chunks, lists by selectable fields, and what has no table."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api
from tests.integration.test_custom_kinds import CRDS, GROUP, TABS, crd, tab, version

COUNT = 100
LIMIT = 17


async def templates(api: Api, space: str) -> str:
    path = f"{space}/podtemplates"
    pod = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
    for n in range(COUNT):
        await api.create(path, {"metadata": {"name": f"template-{n:04}"}, "template": pod})
    return path


def seen(page: Any) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


async def rest(api: Api, path: str, page: Any) -> list[str]:
    """Return the names of all that follows a page; every page is of the same version."""
    names: list[str] = []
    version_of_all = page["metadata"]["resourceVersion"]
    before = COUNT - page["metadata"]["remainingItemCount"]
    while token := page["metadata"].get("continue"):
        page = await api.get(f"{path}?limit={LIMIT}&continue={token}")
        assert len(page["items"]) <= LIMIT
        assert page["metadata"]["resourceVersion"] == version_of_all
        names += seen(page)
        remaining = page["metadata"].get("remainingItemCount", 0)
        assert before + len(names) + remaining == COUNT
    return names


@pytest.mark.conformance("Servers with support for API chunking should return chunks of results...")
async def test_a_list_comes_in_chunks(api: Api, space: str) -> None:
    path = await templates(api, space)
    first = await api.get(f"{path}?limit={LIMIT}")
    assert first["metadata"]["remainingItemCount"] == COUNT - LIMIT
    names = seen(first) + await rest(api, path, first)
    assert names == [f"template-{n:04}" for n in range(COUNT)]
    whole = await api.get(path)
    assert seen(whole) == names
    assert "continue" not in whole["metadata"]


@pytest.mark.conformance("Servers with support for API chunking should support continue listing...")
async def test_a_list_goes_on_after_its_version_is_forgotten(api: Api, space: str) -> None:
    path = await templates(api, space)
    first = await api.get(f"{path}?limit={LIMIT}")
    old = int(first["metadata"]["resourceVersion"])
    # Another kind changes: the templates are what they were, and the token expires all the same.
    await api.patch("/api/v1/namespaces/n", {"metadata": {"labels": {"a": "b"}}})
    assert api.server.app._api is not None
    await api.server.app._api.store.backend.compact(old + 1)
    gone = await api.call("GET", f"{path}?limit={LIMIT}&continue={first['metadata']['continue']}")
    assert gone.status == 410
    assert gone.body["reason"] == "Expired"
    token = gone.body["metadata"]["continue"]
    second = await api.get(f"{path}?limit={LIMIT}&continue={token}")
    assert len(second["items"]) == LIMIT
    assert int(second["metadata"]["resourceVersion"]) > old
    assert second["metadata"]["remainingItemCount"] == COUNT - 2 * LIMIT
    names = seen(first) + seen(second) + await rest(api, path, second)
    assert names == [f"template-{n:04}" for n in range(COUNT)]


@pytest.mark.conformance("Servers with support for Table transformation should return a 406...")
async def test_what_is_not_stored_has_no_table(api: Api) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "kube-system", "verb": "get"}},
    }
    answer = await api.call(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        review,
        accept="application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    assert answer.status == 406


@pytest.mark.conformance("CustomResourceFieldSelectors CustomResourceFieldSelectors MUST list...")
async def test_custom_objects_are_listed_watched_and_deleted_by_their_fields(api: Api) -> None:
    await api.create(CRDS, crd(version(selectableFields=[{"jsonPath": ".spec.image"}])))
    await api.until(TABS)
    blue = "fieldSelector=spec.image=blue"
    async with api.watch(TABS, fieldSelector="spec.image=blue") as watcher:
        for name, image in (("a", "blue"), ("b", "red"), ("c", "blue")):
            await api.create(TABS, tab(name, {"image": image}))
        assert await api.names(f"{TABS}?{blue}") == ["a", "c"]
        await api.patch(f"{TABS}/a", {"spec": {"image": "red"}})
        await api.patch(f"{TABS}/b", {"spec": {"image": "blue"}})
        assert await api.names(f"{TABS}?{blue}") == ["b", "c"]
        await api.delete(f"{TABS}?{blue}")
        assert await api.names(TABS) == ["a"]
        told = [(e.type, e.object["metadata"]["name"]) for e in await watcher.take(6)]
    assert told[:4] == [("ADDED", "a"), ("ADDED", "c"), ("DELETED", "a"), ("ADDED", "b")]
    assert sorted(told[4:]) == [("DELETED", "b"), ("DELETED", "c")]
    unknown = await api.call("GET", f"{TABS}?fieldSelector=spec.replicas=1")
    assert unknown.status == 400
    assert "spec.replicas" in unknown.body["message"]
    assert GROUP in TABS
