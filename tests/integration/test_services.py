"""Addresses and ports of services: never given twice, never lost."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from minikube_py.api.networking import IPADDRESSES
from minikube_py.server.registry.services import ip_address
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

PATH = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], **spec},
    }


async def addresses(server: Server) -> set[str]:
    listed = (await server.call("GET", ADDRESSES)).body["items"]
    return {item["metadata"]["name"] for item in listed}


async def test_services_made_at_once_get_addresses_and_ports_of_their_own(server: Server) -> None:
    answers = await asyncio.gather(
        *(server.call("POST", PATH, service(f"s{n}", type="NodePort")) for n in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    specs = [answer.body["spec"] for answer in answers]
    assert len({spec["clusterIP"] for spec in specs}) == 20
    assert len({spec["ports"][0]["nodePort"] for spec in specs}) == 20
    assert {spec["clusterIP"] for spec in specs} <= await addresses(server)


async def test_a_deleted_service_gives_its_address_back(server: Server) -> None:
    address = (await server.call("POST", PATH, service("a"))).body["spec"]["clusterIP"]
    assert address in await addresses(server)
    await server.call("DELETE", f"{PATH}/a")
    assert address not in await addresses(server)
    again = await server.call("POST", PATH, service("b", clusterIP=address))
    assert again.body["spec"]["clusterIP"] == address


async def test_an_address_that_is_taken_is_refused(server: Server) -> None:
    address = (await server.call("POST", PATH, service("a"))).body["spec"]["clusterIP"]
    answer = await server.call("POST", PATH, service("b", clusterIP=address))
    assert answer.status == 422
    assert "provided IP is already allocated" in answer.body["message"]


async def test_a_refused_service_leaves_nothing_behind(server: Server) -> None:
    before = await addresses(server)
    port = {"port": 80, "nodePort": 80}
    answer = await server.call("POST", PATH, service("a", type="NodePort", ports=[port]))
    assert answer.status == 422
    assert await addresses(server) == before


async def test_a_dry_run_takes_no_address(server: Server) -> None:
    before = await addresses(server)
    answer = await server.call("POST", f"{PATH}?dryRun=All", service("a"))
    assert answer.body["spec"]["clusterIP"]
    assert await addresses(server) == before


async def test_an_address_whose_service_never_came_is_given_back_at_start(
    restartable: Any,
) -> None:
    lost: Any = {"metadata": {"name": "lost", "namespace": "default"}}
    async with restartable() as server:
        held = (await server.call("POST", PATH, service("kept"))).body["spec"]["clusterIP"]
        await server.client.create(IPADDRESSES, ip_address("10.43.7.7", lost))
    async with restartable() as server:
        now = await addresses(server)
    assert "10.43.7.7" not in now
    assert held in now


async def test_the_servers_own_service_comes_back(server: Server) -> None:
    before = (await server.call("GET", f"{PATH}/kubernetes")).body
    since = (await server.call("GET", PATH)).body["metadata"]["resourceVersion"]
    query = f"watch=1&resourceVersion={since}&fieldSelector=metadata.name%3Dkubernetes"
    async with server.session.get(f"{server.url}{PATH}?{query}&timeoutSeconds=10") as stream:
        assert (await server.call("DELETE", f"{PATH}/kubernetes")).status == 200
        events = [orjson.loads(await stream.content.readline()) for _ in range(2)]
    assert [event["type"] for event in events] == ["DELETED", "ADDED"]
    assert events[1]["object"]["spec"]["clusterIP"] == before["spec"]["clusterIP"]


async def test_a_load_balancer_for_local_backends_gets_a_port_for_checks(server: Server) -> None:
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    made = (await server.call("POST", PATH, service("a", **local))).body["spec"]
    port = made["healthCheckNodePort"]
    assert 30000 <= port <= 32767
    assert port != made["ports"][0]["nodePort"]
    taken = await server.call("POST", PATH, service("b", healthCheckNodePort=port, **local))
    assert (taken.status, "reason" in taken.body) == (500, False)
    assert taken.body["message"] == (
        f"failed to allocate requested HealthCheck NodePort {port}: provided port is already "
        "allocated"
    )
    plain = {"spec": {"type": "ClusterIP", "externalTrafficPolicy": None}}
    merge = {"content_type": "application/merge-patch+json"}
    changed = await server.call("PATCH", f"{PATH}/a", plain, **merge)
    assert "healthCheckNodePort" not in changed.body["spec"]
    again = await server.call("POST", PATH, service("b", healthCheckNodePort=port, **local))
    assert again.status == 201


async def test_an_address_outside_of_the_range_is_refused(server: Server) -> None:
    answer = await server.call("POST", PATH, service("a", clusterIP="192.0.2.1"))
    (cause,) = answer.body["details"]["causes"]
    assert cause["field"] == "spec.clusterIPs"
    assert cause["message"].startswith('Invalid value: ["192.0.2.1"]: failed to allocate IP')


async def test_a_second_range_gives_addresses_when_the_first_has_none_left(tmp_path: Path) -> None:
    async with running(
        tmp_path, service_cidr="10.43.0.0/28", disable_controller_manager=False
    ) as server:
        ranges = "/apis/networking.k8s.io/v1/servicecidrs"
        body = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.44.0.0/24"]}}
        assert (await server.call("POST", ranges, body)).status == 201
        wanted = {"clusterIP": "10.44.0.7", "ports": [{"port": 80}]}
        chosen = {"metadata": {"name": "chosen"}, "spec": wanted}
        path = "/api/v1/namespaces/default/services"
        assert (await server.call("POST", path, chosen)).status == 201
        for number in range(16):
            made = {"metadata": {"name": f"s{number}"}, "spec": {"ports": [{"port": 80}]}}
            answer = await server.call("POST", path, made)
            assert answer.status == 201, answer.raw
        assert answer.body["spec"]["clusterIP"].startswith("10.44.0.")
        await server.call("DELETE", f"{ranges}/more")
        await eventually(
            lambda: server.call("GET", f"{ranges}/more"),
            lambda answer: answer.body["status"]["conditions"][0]["status"] == "False",
        )
        await server.call("DELETE", "/apis/networking.k8s.io/v1/ipaddresses/10.44.0.7")
        await eventually(
            lambda: server.call("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.44.0.7"),
            lambda answer: answer.status == 200,
        )
