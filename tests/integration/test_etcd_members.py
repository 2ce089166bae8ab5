"""A member of etcd is let in once, also when it asks again after a crash or has lost its data."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.api.errors import NotFoundError, ServiceUnavailableError
from minikube_py.datastore.etcd.connection import Connection
from minikube_py.datastore.etcd.endpoint import etcd_endpoint
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member.admission import admit, listed
from minikube_py.server.etcd_member.departure import remove
from minikube_py.server.etcd_member.joining import Admission, admitted
from minikube_py.server.etcd_member.layout import Layout, find_program, layout_of
from minikube_py.server.etcd_member.run import running
from tests.datastore.etcd_server import Member, etcd
from tests.integration.conftest import Server
from tests.integration.conftest import running as server_running
from tests.integration.patience import eventually
from tests.ports import free_port


@pytest.fixture
def member() -> Iterator[Member]:
    with etcd() as made:
        yield made


@pytest.fixture
def config(member: Member, tmp_path: Path) -> ServerConfig:
    return ServerConfig(data_dir=tmp_path, cluster_init=True, datastore_endpoint=member.client)


@pytest.fixture
async def connection(member: Member) -> AsyncIterator[Connection]:
    made = Connection(etcd_endpoint(member.client))
    yield made
    await made.close()


def wanted(port: int = 1) -> dict[str, Any]:
    return {"name": "b-1234", "peerURL": f"http://127.0.0.1:{port}"}


async def test_a_member_that_asks_again_is_the_same_member_without_a_vote(
    member: Member, config: ServerConfig, connection: Connection
) -> None:
    first = await admit(config, wanted())
    assert await admit(config, wanted()) == first
    told = set(first["cluster"].split(","))
    assert told == {f"{member.name}={member.peer}", "b-1234=http://127.0.0.1:1"}
    assert first["clients"] == [member.client]
    learners = [one for one in await listed(connection) if one.get("isLearner")]
    assert [one["peerURLs"] for one in learners] == [["http://127.0.0.1:1"]]
    assert member.ctl("put", "a", "1").returncode == 0  # it costs the others nothing


async def let_in(config: ServerConfig, member: dict[str, Any]) -> bool:
    try:
        await admit(config, member)
    except ServiceUnavailableError:
        return False
    return True


async def test_a_member_without_its_data_joins_anew(
    member: Member, config: ServerConfig, connection: Connection, tmp_path: Path
) -> None:
    second = Member(tmp_path)
    admission = await admit(config, {"name": second.name, "peerURL": second.peer})
    second.start(admission["cluster"], "--initial-cluster-state=existing")
    try:
        await eventually(
            lambda: listed(connection), lambda found: all(one.get("name") for one in found)
        )
    finally:
        second.kill()
    before = {one["ID"] for one in await listed(connection)}
    # etcd makes numbers of members from the second in which they are added: in the same one it
    # takes the new member for the one that was removed, and says so.
    again = {"name": second.name, "peerURL": second.peer}
    assert await eventually(lambda: let_in(config, again), bool)
    after = await listed(connection)
    assert len(after) == 2
    assert len(before & {one["ID"] for one in after}) == 1


async def test_the_member_of_a_deleted_node_goes_unless_it_is_alive(
    config: ServerConfig, connection: Connection, tmp_path: Path
) -> None:
    second = Member(tmp_path)
    second.name = "lost-12345678"
    admission = await admit(config, {"name": second.name, "peerURL": second.peer})
    second.start(admission["cluster"], "--initial-cluster-state=existing")
    try:
        await eventually(
            lambda: listed(connection), lambda found: all(one.get("name") for one in found)
        )
        await remove(config, "lost")
        assert len(await listed(connection)) == 2
    finally:
        second.kill()
    await remove(config, "other")
    assert len(await listed(connection)) == 2
    await remove(config, "lost")
    (left,) = await listed(connection)
    assert left["name"] != "lost-12345678"


async def test_one_member_joins_at_a_time_and_the_next_is_told_to_ask_again(
    config: ServerConfig,
) -> None:
    await admit(config, wanted())
    with pytest.raises(ServiceUnavailableError, match="too many learner members"):
        await admit(config, {"name": "c", "peerURL": "http://127.0.0.1:2"})


async def test_a_server_without_etcd_lets_no_member_in(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="start the first one with --cluster-init"):
        await admit(ServerConfig(data_dir=tmp_path), wanted())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with server_running(tmp_path / "server") as made:
        yield made


def joiner(tmp_path: Path, **told: Any) -> tuple[ServerConfig, Layout]:
    config = ServerConfig(data_dir=tmp_path / "joiner", bind_address="127.0.0.1", **told)
    return config, layout_of(config, "b", ())


async def test_who_is_not_let_in_is_told_why(server: Server, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{server.app.config.https_listen_port}"
    token = server.app.bootstrap.token
    for told, why in (
        ({"server": "http://a", "token": token}, "is no URL such as https"),
        ({"server": url, "token": "secret"}, "is not a join token"),
        ({"server": url, "token": f"K10{'0' * 64}::server:a"}, "is not the one that --token"),
        ({"server": url, "token": f"{token}x"}, "refused this one: the token is wrong"),
        ({"server": url, "token": token}, "runs no etcd to join; start the first one"),
    ):
        with pytest.raises(StartError, match=why):
            await admitted(*joiner(tmp_path, **told), SystemClock())


def test_what_a_member_was_told_outlives_a_crash(tmp_path: Path) -> None:
    told = Admission("a=https://a:2380", ("https://a:2379",))
    assert Admission.kept(tmp_path) is None
    told.keep(tmp_path)
    assert Admission.kept(tmp_path) == told


def test_a_member_keeps_its_name_and_prefers_its_own_program(tmp_path: Path) -> None:
    config, layout = joiner(tmp_path)
    assert layout.name == layout_of(config, "other", ()).name
    assert layout.name.startswith("b-")
    own = config.data_dir / "bin/etcd"
    own.parent.mkdir()
    own.touch()
    assert find_program(config.data_dir) == str(own)


async def test_etcd_that_cannot_run_is_told_with_its_last_words(tmp_path: Path) -> None:
    config = ServerConfig(
        data_dir=tmp_path,
        bind_address="127.0.0.1",
        cluster_init=True,
        etcd_client_port=free_port(),
        etcd_peer_port=free_port(),
    )
    own = tmp_path / "bin/etcd"
    own.parent.mkdir()
    own.write_text('#!/bin/sh\necho \'{"level":"fatal","msg":"no space"}\'\nexit 1\n')
    own.chmod(0o755)
    with pytest.raises(StartError, match=r'etcd does not run: .*"no space".*; see .*etcd\.log'):
        async with running(config, SystemClock(), lambda _: None):
            pass


async def test_a_cluster_in_sqlite_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "server/db").mkdir(parents=True)
    (tmp_path / "server/db/state.db").touch()
    config = ServerConfig(data_dir=tmp_path, bind_address="127.0.0.1", cluster_init=True)
    with pytest.raises(StartError, match=r"state\.db holds a cluster"):
        async with running(config, SystemClock(), lambda _: None):
            pass
    assert not (tmp_path / "server/db/etcd").exists()
