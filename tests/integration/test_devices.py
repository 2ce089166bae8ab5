"""Devices for pods, with all parts and their real rights: given, and free again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

CORE, DRA = "/api/v1", "/apis/resource.k8s.io/v1"
CLAIMS, PODS = f"{DRA}/namespaces/default/resourceclaims", f"{CORE}/namespaces/default/pods"
DRIVER = "dra.example.com"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Server]:
    """Run a control plane with two nodes, of which one has a device of its own."""
    loops = {"disable_scheduler": False, "disable_controller_manager": False}
    async with running(tmp_path, **loops) as server:
        for name in ("a", "b"):
            await made(server, f"{CORE}/nodes", {"metadata": {"name": name}})
            status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}
            ready = {"type": "Ready", "status": "True", "reason": "r", "message": ""}
            body = {"status": {**status, "conditions": [ready]}}
            path = f"{CORE}/nodes/{name}/status"
            merge = "application/merge-patch+json"
            assert (await server.call("PATCH", path, body, content_type=merge)).status == 200
        expression = f'device.driver == "{DRIVER}"'
        selectors = [{"cel": {"expression": expression}}]
        spec: dict[str, Any] = {"selectors": selectors}
        await made(server, f"{DRA}/deviceclasses", {"metadata": {"name": "gpu"}, "spec": spec})
        pool = {"name": "b", "generation": 1, "resourceSliceCount": 1}
        model = {"model": {"string": "big"}}
        devices = [{"name": "gpu-0", "attributes": model}]
        spec = {"driver": DRIVER, "nodeName": "b", "pool": pool, "devices": devices}
        await made(server, f"{DRA}/resourceslices", {"metadata": {"name": "b"}, "spec": spec})
        selector = {"cel": {"expression": f'device.attributes["{DRIVER}"].model == "big"'}}
        wanted = {"deviceClassName": "gpu", "selectors": [selector]}
        claim = {"devices": {"requests": [{"name": "one", "exactly": wanted}]}}
        body = {"metadata": {"name": "t"}, "spec": {"spec": claim}}
        await made(server, f"{DRA}/namespaces/default/resourceclaimtemplates", body)
        yield server


async def made(server: Server, path: str, body: Any) -> Any:
    answer = await server.call("POST", path, body)
    assert answer.status == 201, answer.body
    return answer.body


async def run_pod(server: Server, name: str) -> None:
    spec = {
        "containers": [{"name": "c", "image": "i", "resources": {"claims": [{"name": "gpu"}]}}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}],
        "tolerations": [{"operator": "Exists"}],
    }
    await eventually(
        lambda: server.call("GET", f"{CORE}/namespaces/default/serviceaccounts/default"),
        lambda answer: answer.status == 200,
    )
    await made(server, PODS, {"metadata": {"name": name}, "spec": spec})


async def node_of(server: Server, name: str) -> str:
    return str((await server.call("GET", f"{PODS}/{name}")).body["spec"].get("nodeName", ""))


async def all_claims(server: Server) -> list[Any]:
    return list((await server.call("GET", CLAIMS)).body["items"])


async def test_one_pod_gets_the_device_and_the_next_when_it_is_free(cluster: Server) -> None:
    await run_pod(cluster, "first")
    assert await eventually(lambda: node_of(cluster, "first"), bool) == "b"
    (claim,) = await all_claims(cluster)
    (result,) = claim["status"]["allocation"]["devices"]["results"]
    assert (result["pool"], result["device"]) == ("b", "gpu-0")
    assert [user["name"] for user in claim["status"]["reservedFor"]] == ["first"]

    await run_pod(cluster, "second")

    async def why() -> str:
        status = (await cluster.call("GET", f"{PODS}/second")).body["status"]
        return str([one.get("message", "") for one in status.get("conditions") or ()])

    said = await eventually(why, lambda text: "allocate" in text)
    assert "2 cannot allocate all claims" in said
    answer = await cluster.call("DELETE", f"{PODS}/first", {"gracePeriodSeconds": 0})
    assert answer.status == 200
    assert await eventually(lambda: node_of(cluster, "second"), bool) == "b"

    async def claims_left() -> int:
        return len(await all_claims(cluster))

    async with asyncio.timeout(60):
        assert await eventually(claims_left, lambda count: count == 1) == 1
