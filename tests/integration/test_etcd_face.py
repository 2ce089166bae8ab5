"""etcd's API of kpy's own datastore, for other control planes and for administrators."""

import asyncio
import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minikube_py.lib import pki
from minikube_py.lib.pki import Subject
from tests.datastore.face.program import Face, etcdctl
from tests.integration.conftest import running
from tests.integration.patience import eventually
from tests.integration.test_shared_datastore import CONFIG_MAPS, config_map, two_servers
from tests.ports import free_port


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    one = Face(tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.stop()


async def test_two_control_planes_run_over_kpy_as_over_etcd(face: Face, tmp_path: Path) -> None:
    async with two_servers(face.url, tmp_path) as (first, second):
        for n in range(5):
            assert (await first.call("POST", CONFIG_MAPS, config_map(f"m{n}", a="1"))).status == 201
            found = await second.call("GET", f"{CONFIG_MAPS}/m{n}")
            changed = {**found.body, "data": {"a": "2"}}
            assert (await second.call("PUT", f"{CONFIG_MAPS}/m{n}", changed)).status == 200
            assert (await first.call("PUT", f"{CONFIG_MAPS}/m{n}", changed)).status == 409
            assert (await first.call("GET", f"{CONFIG_MAPS}/m{n}")).body["data"] == {"a": "2"}
        # A lease takes a revision that no event shows to the servers: reads are still served.
        await asyncio.to_thread(face.ctl, "lease", "grant", "600")
        assert len((await second.call("GET", CONFIG_MAPS)).body["items"]) >= 5
        await asyncio.to_thread(face.ctl, "del", "/registry/configmaps/default/m0")
        await eventually(
            lambda: first.call("GET", f"{CONFIG_MAPS}/m0"), lambda answer: answer.status == 404
        )


async def test_only_administrators_reach_the_datastore_of_a_server(tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    async with running(tmp_path, etcd_listen_client_urls=(url,)) as server:
        tls = tmp_path / "server" / "tls"
        node = Subject(name="system:node:n", organizations=("system:nodes",))
        ca = server.app.bootstrap.client_ca
        pki.ensure_leaf(tls, "node", ca, node, "client", now=datetime.now(UTC))

        def shown(name: str, *words: str, status: int | None = 0) -> str:
            files = (f"--cert={tls / name}.crt", f"--key={tls / name}.key")
            return etcdctl(url, f"--cacert={tls / 'cluster-ca.crt'}", *files, *words, status=status)

        await server.call("POST", CONFIG_MAPS, config_map("seen", a="1"))
        key = "/registry/configmaps/default/seen"
        assert '"seen"' in await asyncio.to_thread(shown, "admin", "get", key)
        refused = await asyncio.to_thread(functools.partial(shown, "node", "get", key, status=None))
        assert "permission denied" in refused
        await asyncio.to_thread(shown, "admin", "put", "foreign", "1")
        assert (await server.call("GET", f"{CONFIG_MAPS}/seen")).status == 200
