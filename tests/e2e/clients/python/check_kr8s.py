"""kr8s: objects that know their API, watches, waits, exec and port-forward."""

import asyncio
from typing import Any

import aiohttp
import kr8s
import pytest
from kr8s.asyncio.objects import ConfigMap, Deployment, Pod, new_class

from tests.e2e.clients.python.conftest import SECONDS_MAX


@pytest.fixture
async def api(kubeconfig: str, namespace: str) -> Any:
    return await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)


def named(name: str, namespace: str, app: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"app": app}}}


async def test_objects_are_made_read_changed_and_deleted(api: Any, namespace: str) -> None:
    made = await ConfigMap({**named("c", namespace, "crud"), "data": {"a": "1"}}, api=api)
    await made.create()
    assert await made.exists()
    await made.patch({"data": {"b": "2"}})
    await made.patch([{"op": "remove", "path": "/data/a"}], type="json")
    assert made.data == {"b": "2"}
    await made.label({"colour": "blue"})
    await made.annotate({"note": "x"})
    read = await ConfigMap.get("c", namespace=namespace, api=api)
    assert read.labels.colour == "blue"
    assert read.annotations.note == "x"
    found = [item.name async for item in api.get("configmaps", label_selector={"app": "crud"})]
    assert found == ["c"]
    with pytest.raises(kr8s.ServerError, match="already exists"):
        await made.create()
    await made.delete()
    await made.wait("delete", timeout=SECONDS_MAX)
    with pytest.raises(kr8s.NotFoundError):
        await ConfigMap.get("c", namespace=namespace, api=api)


async def test_a_watch_sees_changes(api: Any, namespace: str) -> None:
    made = await ConfigMap({**named("w", namespace, "watched"), "data": {"n": "0"}}, api=api)
    await made.create()
    seen = []
    async with asyncio.timeout(SECONDS_MAX):
        async for kind, item in api.watch("configmaps", label_selector={"app": "watched"}):
            seen.append(kind)
            if kind == "ADDED":
                await made.patch({"data": {"n": "1"}})
            elif kind == "MODIFIED":
                await item.delete()
            else:
                break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_deployment_is_scaled_and_waited_for(api: Any, namespace: str) -> None:
    labels = {"app": "kr8s"}
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": ["sleep", "3600"]}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    deployment = await Deployment({**named("d", namespace, "kr8s"), "spec": spec}, api=api)
    await deployment.create()
    await deployment.scale(1)
    # Of no replicas all are available: the condition of that name may be older than the pod.
    async with asyncio.timeout(SECONDS_MAX):
        while not await deployment.ready():  # noqa: ASYNC110 -- the client has no such wait
            await asyncio.sleep(0.1)
    [pod] = await deployment.pods()
    await pod.wait("condition=Ready", timeout=SECONDS_MAX)
    assert pod.labels["app"] == "kr8s"
    await deployment.delete(propagation_policy="Foreground")
    await deployment.wait("delete", timeout=SECONDS_MAX)


async def test_a_container_is_reached(api: Any, namespace: str) -> None:
    pod = await Pod.get("web", namespace=namespace, api=api)
    assert await pod.ready()
    assert [line async for line in pod.logs()] == ["up"]
    done = await pod.exec(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 0)
    assert (await pod.exec(["sh", "-c", "exit 3"], check=False)).returncode == 3
    async with (
        asyncio.timeout(SECONDS_MAX),
        pod.portforward(8080, local_port="auto") as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        assert await answer.text() == "hello from web\n"


async def test_the_api_says_what_it_is(api: Any, namespace: str) -> None:
    assert (await api.version())["minor"] == "36"
    assert await api.whoami() == "kubernetes-admin"
    names = {resource["name"] for resource in await api.api_resources()}
    assert {"pods", "deployments", "leases"} <= names
    lease = new_class("Lease", "coordination.k8s.io/v1", namespaced=True)
    made = await lease({**named("g", namespace, "x"), "spec": {"holderIdentity": "me"}}, api=api)
    await made.create()
    assert made.spec.holderIdentity == "me"
