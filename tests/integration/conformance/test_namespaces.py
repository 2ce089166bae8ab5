"""Namespaces: changes, finalizers, status, and what goes with them in which order."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api

NAMESPACES = "/api/v1/namespaces"
N = f"{NAMESPACES}/n"


@pytest.mark.conformance(
    "Namespaces should apply an update to a Namespace",
    "Namespaces should patch a Namespace",
)
async def test_a_namespace_is_updated_and_patched(api: Api, space: str) -> None:
    patched = await api.patch(N, {"metadata": {"labels": {"one": "1"}}})
    assert patched["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n", "one": "1"}
    metadata = {**patched["metadata"], "labels": {**patched["metadata"]["labels"], "two": "2"}}
    await api.put(N, {**patched, "metadata": metadata})
    assert (await api.get(N))["metadata"]["labels"]["two"] == "2"


@pytest.mark.conformance("Namespaces should apply changes to a namespace status")
async def test_the_status_of_a_namespace_is_patched_and_updated(api: Api, space: str) -> None:
    assert (await api.get(f"{N}/status"))["status"] == {"phase": "Active"}
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "patched"}
    patched = await api.patch(
        f"{N}/status",
        {"metadata": {"annotations": {"seen": "1"}}, "status": {"conditions": [condition]}},
    )
    assert patched["status"]["conditions"][0]["message"] == "patched"
    assert patched["metadata"]["annotations"] == {"seen": "1"}
    again = {**condition, "type": "StatusUpdate", "message": "updated"}
    status = {**patched["status"], "conditions": [*patched["status"]["conditions"], again]}
    await api.put(f"{N}/status", {**patched, "status": status})
    shown = (await api.get(N))["status"]["conditions"]
    assert [c["message"] for c in shown] == ["patched", "updated"]


@pytest.mark.conformance("Namespaces should apply a finalizer to a Namespace")
async def test_a_finalizer_is_applied_and_taken_away(api: Api, space: str) -> None:
    namespace = await api.get(N)
    added = {"finalizers": [*namespace["spec"]["finalizers"], "e2e.example.com/fake"]}
    await api.put(f"{N}/finalize", {**namespace, "spec": added})
    changed = await api.get(N)
    assert changed["spec"]["finalizers"] == ["kubernetes", "e2e.example.com/fake"]
    await api.put(f"{N}/finalize", {**changed, "spec": namespace["spec"]})
    assert (await api.get(N))["spec"]["finalizers"] == ["kubernetes"]


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    return {"metadata": {"name": name, **metadata}, "spec": spec}


@pytest.mark.conformance(
    "Namespaces should ensure that all pods are removed when a namespace is deleted",
    "Namespaces should ensure that all services are removed when a namespace is deleted",
)
async def test_what_is_in_a_namespace_goes_with_it(api: Api, space: str) -> None:
    await api.create(f"{space}/pods", pod("p"))
    await api.create(
        f"{space}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    )
    await api.create(f"{space}/configmaps", {"metadata": {"name": "c"}})
    await api.delete(N)
    await api.until_gone(N)
    await api.create(NAMESPACES, {"metadata": {"name": "n"}})
    assert await api.names(f"{N}/pods") == []
    assert await api.names(f"{N}/services") == []


@pytest.mark.conformance("OrderedNamespaceDeletion namespace deletion should delete pod first")
async def test_pods_go_before_everything_else(api: Api, space: str) -> None:
    await api.create(f"{space}/configmaps", {"metadata": {"name": "c"}})
    await api.create(f"{space}/pods", pod("p", finalizers=["e2e.example.com/wait"]))
    await api.delete(N)

    def waits_for_the_pod(namespace: Any) -> bool:
        said = {c["type"]: c for c in namespace["status"].get("conditions", ())}
        remaining = said.get("NamespaceContentRemaining", {})
        return "pods. has 1 resource instances" in remaining.get("message", "")

    told = await api.until(N, waits_for_the_pod)
    assert told["status"]["phase"] == "Terminating"
    assert await api.names(f"{N}/configmaps?fieldSelector=metadata.name=c") == ["c"]
    assert (await api.get(f"{N}/pods/p"))["metadata"]["deletionTimestamp"]
    refused = await api.call("POST", f"{N}/configmaps", {"metadata": {"name": "late"}})
    assert refused.status == 403
    assert "because it is being terminated" in refused.body["message"]
    await api.patch(f"{N}/pods/p", {"metadata": {"finalizers": None}})
    await api.until_gone(N)
