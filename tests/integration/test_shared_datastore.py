"""Two API servers on one database: what one has acknowledged the other shows, and obeys."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.datastore.conftest import DATABASES, etcd, mariadb, postgres
from tests.datastore.etcd_server import Member
from tests.datastore.servers import Server as DatabaseServer
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

__all__ = ["etcd", "mariadb", "postgres"]

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
Two = tuple[Server, Server]


@pytest.fixture(params=DATABASES)
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    database: DatabaseServer | Member = request.getfixturevalue(request.param)
    async with two_servers(database.endpoint(), tmp_path) as both:
        yield both


@asynccontextmanager
async def two_servers(endpoint: str, folder: Path) -> AsyncIterator[Two]:
    """Run two servers on one datastore."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(folder / "a", datastore_endpoint=endpoint))
        second = await stack.enter_async_context(
            running(
                folder / "b",
                datastore_endpoint=endpoint,
                advertise_address="192.0.2.11",
                token=(folder / "a/server/token").read_text().strip(),
            )
        )
        yield first, second


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": data}


@pytest.mark.parametrize("two", [*DATABASES, "etcd"], indirect=True)
async def test_a_read_after_a_write_on_the_other_server_shows_it(two: Two) -> None:
    first, second = two
    for n in range(10):
        assert (await first.call("POST", CONFIG_MAPS, config_map(f"m{n}", a="1"))).status == 201
        found = await second.call("GET", f"{CONFIG_MAPS}/m{n}")
        assert found.status == 200
        listed = await second.call("GET", CONFIG_MAPS)
        assert f"m{n}" in {item["metadata"]["name"] for item in listed.body["items"]}
        changed = {**found.body, "data": {"a": "2"}}
        assert (await second.call("PUT", f"{CONFIG_MAPS}/m{n}", changed)).status == 200
        assert (await first.call("PUT", f"{CONFIG_MAPS}/m{n}", changed)).status == 409
        assert (await first.call("GET", f"{CONFIG_MAPS}/m{n}")).body["data"] == {"a": "2"}
        assert (await first.call("POST", CONFIG_MAPS, config_map(f"m{n}"))).status == 409
        assert (await first.call("DELETE", f"{CONFIG_MAPS}/m{n}")).status == 200
        assert (await second.call("GET", f"{CONFIG_MAPS}/m{n}")).status == 404


async def test_what_other_programs_write_beside_the_servers_holds_nobody_up(
    etcd: Member, tmp_path: Path
) -> None:
    async with running(tmp_path, datastore_endpoint=etcd.endpoint()) as server:
        for n in range(3):
            assert etcd.ctl("put", f"/elsewhere/{n}", "x").returncode == 0
            assert (await server.call("GET", CONFIG_MAPS)).status == 200
            assert (await server.call("POST", CONFIG_MAPS, config_map(f"m{n}"))).status == 201
        assert etcd.ctl("del", "/registry/configmaps/default/", "--prefix").returncode == 0
        listed = await server.call("GET", CONFIG_MAPS)
        names = {item["metadata"]["name"] for item in listed.body["items"]}
        assert not names & {"m0", "m1", "m2"}


async def test_patches_on_both_servers_all_count(two: Two) -> None:
    await two[0].call("POST", CONFIG_MAPS, config_map("shared"))

    async def patch(n: int) -> int:
        body = {"data": {f"k{n}": str(n)}}
        path = f"{CONFIG_MAPS}/shared"
        kind = "application/merge-patch+json"
        return (await two[n % 2].call("PATCH", path, body, content_type=kind)).status

    assert set(await asyncio.gather(*map(patch, range(12)))) == {200}
    found = await two[1].call("GET", f"{CONFIG_MAPS}/shared")
    assert found.body["data"] == {f"k{n}": str(n) for n in range(12)}


async def test_services_of_both_servers_never_get_the_same_address_or_port(two: Two) -> None:
    async def create(n: int) -> tuple[str, int]:
        spec = {"type": "NodePort", "ports": [{"port": 80}]}
        body = {"metadata": {"name": f"s{n}"}, "spec": spec}
        answer = await two[n % 2].call("POST", "/api/v1/namespaces/default/services", body)
        assert answer.status == 201, answer.body
        return answer.body["spec"]["clusterIP"], answer.body["spec"]["ports"][0]["nodePort"]

    made = await asyncio.gather(*map(create, range(40)))
    assert len({address for address, _ in made}) == 40
    assert len({port for _, port in made}) == 40


async def test_a_kind_that_one_server_is_taught_the_other_serves(two: Two) -> None:
    definition = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await two[0].call("POST", path, definition)).status == 201
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    made = await eventually(
        lambda: two[1].call("POST", widgets, body), lambda answer: answer.status != 404
    )
    assert made.status == 201
    assert (await two[0].call("GET", f"{widgets}/w")).status == 200


async def test_both_servers_sign_with_the_same_keys_and_read_each_others_secrets(two: Two) -> None:
    first, second = (server.app.bootstrap for server in two)
    assert first.cluster_ca.bundle_pem == second.cluster_ca.bundle_pem
    secrets = "/api/v1/namespaces/default/secrets"
    body = {"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    assert (await two[0].call("POST", secrets, body)).status == 201
    found = await two[1].call("GET", f"{secrets}/s")
    assert base64.b64decode(found.body["data"]["password"]) == b"hunter2"
    account = "/api/v1/namespaces/default/serviceaccounts"
    await two[0].call("POST", account, {"metadata": {"name": "robot"}})
    made = await two[0].call("POST", f"{account}/robot/token", {"spec": {}})
    review = {"spec": {"token": made.body["status"]["token"]}}
    told = await two[1].call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert told.body["status"]["user"]["username"] == "system:serviceaccount:default:robot"


async def test_the_endpoints_of_the_api_are_those_of_all_servers_that_run(two: Two) -> None:
    async def addresses() -> list[str]:
        found = await two[0].call("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        return [one["ip"] for one in found.body["subsets"][0]["addresses"]]

    await eventually(addresses, lambda found: found == ["192.0.2.10", "192.0.2.11"])
    await two[1].app._stop()
    await eventually(addresses, lambda found: found == ["192.0.2.10"])
