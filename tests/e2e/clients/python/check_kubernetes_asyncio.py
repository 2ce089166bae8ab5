"""kubernetes-asyncio: typed, dynamic, watches, exec and leader election in one event loop."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.leaderelection import electionconfig, leaderelection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes_asyncio.stream import WsApiClient

from tests.e2e.clients.python.conftest import SECONDS_MAX


@pytest.fixture
async def connections(kubeconfig: str) -> AsyncIterator[client.ApiClient]:
    await config.load_kube_config(kubeconfig)
    async with client.ApiClient() as connections:
        yield connections


@pytest.fixture
def api(connections: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(connections)


def config_map(name: str, app: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": app}}, "data": data}


async def test_objects_are_made_read_changed_and_deleted(
    namespace: str, api: client.CoreV1Api
) -> None:
    await api.create_namespaced_config_map(namespace, config_map("c", "crud", a="1"))
    with pytest.raises(ApiException) as error:
        await api.create_namespaced_config_map(namespace, config_map("c", "crud"))
    assert error.value.status == 409
    for kind, body in (
        ("application/json-patch+json", [{"op": "add", "path": "/data/b", "value": "2"}]),
        ("application/merge-patch+json", {"data": {"a": None}}),
        ("application/strategic-merge-patch+json", {"data": {"c": "3"}}),
        ("application/apply-patch+yaml", {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"d": "4"},
        }),
    ):  # fmt: skip
        patched = await api.patch_namespaced_config_map(
            "c", namespace, body, _content_type=kind, field_manager="checks"
        )
    assert patched.data == {"b": "2", "c": "3", "d": "4"}
    patched.data = {"e": "5"}
    replaced = await api.replace_namespaced_config_map("c", namespace, patched)
    assert replaced.data == {"e": "5"}
    await api.delete_namespaced_config_map("c", namespace)
    left = await api.list_namespaced_config_map(namespace, label_selector="app=crud")
    assert left.items == []


async def test_lists_are_paged(namespace: str, api: client.CoreV1Api) -> None:
    for n in range(5):
        await api.create_namespaced_config_map(namespace, config_map(f"p{n}", "paged"))
    sizes, token = [], ""
    while True:
        page = await api.list_namespaced_config_map(
            namespace, limit=2, label_selector="app=paged", _continue=token
        )
        sizes.append((len(page.items), page.metadata.remaining_item_count))
        token = page.metadata._continue
        if not token:
            break
    assert sizes == [(2, None), (2, None), (1, None)]


async def test_a_watch_goes_on_from_where_another_ended(
    namespace: str, api: client.CoreV1Api
) -> None:
    listed = await api.list_namespaced_config_map(namespace)

    async def follow(version: str, count: int) -> list[Any]:
        seen: list[Any] = []
        options = {"resource_version": version, "label_selector": "app=watched"}
        async with watch.Watch() as follower, asyncio.timeout(SECONDS_MAX):
            async for event in follower.stream(
                api.list_namespaced_config_map, namespace, **options
            ):
                seen.append((event["type"], event["object"].metadata))
                if len(seen) == count:
                    break
        return seen

    first = asyncio.create_task(follow(listed.metadata.resource_version, 1))
    await api.create_namespaced_config_map(namespace, config_map("w", "watched"))
    [(kind, metadata)] = await first
    assert kind == "ADDED"
    await api.patch_namespaced_config_map(
        "w", namespace, {"data": {"n": "1"}}, _content_type="application/merge-patch+json"
    )
    await api.delete_namespaced_config_map("w", namespace)
    rest = await follow(metadata.resource_version, 2)
    assert [kind for kind, _ in rest] == ["MODIFIED", "DELETED"]


async def test_the_dynamic_client_finds_kinds_by_discovery(
    namespace: str, connections: client.ApiClient
) -> None:
    found = await DynamicClient(connections)
    leases = await found.resources.get(api_version="coordination.k8s.io/v1", kind="Lease")
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    made = await leases.create(
        body={"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **body}, namespace=namespace
    )
    assert made.spec.holderIdentity == "me"
    listed = await leases.get(namespace=namespace, field_selector="metadata.name=l")
    assert len(listed.items) == 1
    await leases.delete(name="l", namespace=namespace)


async def test_a_command_runs_in_a_container(kubeconfig: str, namespace: str) -> None:
    await config.load_kube_config(kubeconfig)
    async with WsApiClient() as sockets:
        core = client.CoreV1Api(sockets)
        shown = await core.connect_get_namespaced_pod_exec(
            "web", namespace, command=["sh", "-c", "echo out; echo err >&2"],
            stdin=False, stdout=True, stderr=True, tty=False,
        )  # fmt: skip
        assert sorted(shown.split()) == ["err", "out"]
        socket = await core.connect_get_namespaced_pod_exec(
            "web", namespace, command=["sh", "-c", "exit 5"],
            stdin=False, stdout=True, stderr=True, tty=False, _preload_content=False,
        )  # fmt: skip
        async with socket as messages, asyncio.timeout(SECONDS_MAX):
            status = [m.data[1:] async for m in messages if m.data and m.data[0] == 3]
        assert WsApiClient.parse_error_data(status[-1]) == 5


async def test_logs_are_followed(namespace: str, api: client.CoreV1Api) -> None:
    answer = await api.read_namespaced_pod_log(
        "web", namespace, follow=True, _preload_content=False
    )
    async with asyncio.timeout(SECONDS_MAX):
        assert await answer.content.readline() == b"up\n"
    answer.close()


async def test_one_of_two_candidates_leads_and_the_other_follows_on(
    namespace: str, connections: client.ApiClient
) -> None:
    led: list[str] = []
    leads = {name: asyncio.Event() for name in ("first", "second")}

    def candidate(name: str) -> Any:
        async def lead() -> None:
            led.append(name)
            leads[name].set()

        async def stop() -> None:
            led.append(f"no longer {name}")

        lock = LeaseLock("leader", namespace, name, connections)
        settings = electionconfig.Config(lock, 2, 1.5, 1, lead, stop)
        return asyncio.create_task(leaderelection.LeaderElection(settings).run())

    async with asyncio.timeout(SECONDS_MAX):
        first = candidate("first")
        await leads["first"].wait()
        second = candidate("second")
        first.cancel()
        await leads["second"].wait()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
    assert [name for name in led if " " not in name] == ["first", "second"]
    lease = await client.CoordinationV1Api(connections).read_namespaced_lease("leader", namespace)
    assert lease.spec.holder_identity in ("second", "")
