"""`kpy snapshot restore` into every datastore, and servers that start on what it made."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minikube_py.datastore.loading import BUMP
from tests.datastore.conftest import DATABASES, etcd, mariadb, postgres
from tests.datastore.etcd_server import Member
from tests.datastore.servers import Server as DatabaseServer
from tests.integration.conftest import Server, running
from tests.integration.machines import Machine, wait_for
from tests.program import KPY

__all__ = ["etcd", "mariadb", "postgres"]

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NO_LOOPS = ("--disable-scheduler", "--disable-controller-manager", "--disable-cloud-controller")


async def made(server: Server) -> dict[str, str]:
    """Make an object; return its metadata."""
    body = {"metadata": {"name": "kept"}, "data": {"a": "b"}}
    assert (await server.call("POST", CONFIG_MAPS, body)).status == 201
    secret = {"metadata": {"name": "kept"}, "stringData": {"a": "b"}}
    await server.call("POST", "/api/v1/namespaces/default/secrets", secret)
    metadata: dict[str, str] = (await server.call("GET", f"{CONFIG_MAPS}/kept")).body["metadata"]
    return metadata


async def status_of_watch(server: Server, revision: int) -> int:
    """Return the code with which a watch from an earlier revision begins."""
    path = f"{CONFIG_MAPS}?watch=true&timeoutSeconds=5&resourceVersion={revision}"
    answer = await server.call("GET", path)
    if answer.status != 200:
        return answer.status
    return int(answer.body["object"]["code"])


@pytest.mark.parametrize("kind", [*DATABASES, "etcd"])
async def test_a_snapshot_is_restored_into_a_datastore_on_which_a_server_starts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with running(tmp_path / "old") as server:
        kept, data_dir = await made(server), tmp_path / "old"
        assert (await kpy("save", f"--data-dir={data_dir}")).returncode == 0
        token = (data_dir / "server/token").read_text()
    (snapshot,) = (data_dir / "snapshots").glob("*.tar")
    database: DatabaseServer | Member = request.getfixturevalue(kind)
    endpoint = database.endpoint()
    words = (str(snapshot), f"--data-dir={tmp_path / 'new'}", f"--datastore-endpoint={endpoint}")
    bump = ("--bump-revision=5000",) if kind == "etcd" else ()
    done = await kpy("restore", *words, *bump)
    assert done.returncode == 0, done.stderr
    again = await kpy("restore", *words, *bump, "--force")
    assert "is not empty" in again.stderr or kind != "etcd"
    async with running(tmp_path / "new", datastore_endpoint=endpoint) as server:
        found = (await server.call("GET", f"{CONFIG_MAPS}/kept")).body["metadata"]
        assert found["uid"] == kept["uid"]
        if kind != "etcd":
            assert found["resourceVersion"] == kept["resourceVersion"]
        newest = int((await server.call("GET", CONFIG_MAPS)).body["metadata"]["resourceVersion"])
        assert newest > int(kept["resourceVersion"]) + (5000 if kind == "etcd" else BUMP)
        assert await status_of_watch(server, int(kept["resourceVersion"]) + 1) == 410
        secret = await server.call("GET", "/api/v1/namespaces/default/secrets/kept")
        assert secret.body["data"] == {"a": "Yg=="}
    assert (tmp_path / "new/server/token").read_text() == token


async def kpy(*words: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [str(KPY), "snapshot", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A server that runs a member of etcd."""
    made = Machine(tmp_path / "one", 1, "--cluster-init", *NO_LOOPS)
    try:
        yield made
    finally:
        made.lose()


def metadata(machine: Machine, name: str) -> dict[str, str]:
    found = json.loads(machine.kubectl("get", "configmap", name, "-o", "json"))["metadata"]
    return dict(found)


def test_a_snapshot_is_restored_into_the_etcd_that_the_server_runs(
    machine: Machine, tmp_path: Path
) -> None:
    machine.start()
    machine.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    kept = metadata(machine, "kept")
    machine.kpy("snapshot", "save")
    machine.kubectl("create", "configmap", "later")
    later = metadata(machine, "later")["resourceVersion"]
    machine.stop(signal.SIGKILL)  # its etcd runs on
    (snapshot,) = (machine.folder / "data/snapshots").glob("*.tar")
    refusal = machine.kpy("snapshot", "restore", str(snapshot), "--cluster-init", status=1)
    assert refusal == ""
    told = machine.kpy("snapshot", "restore", str(snapshot), "--force")  # it knows that it ran etcd
    assert "what was there before is in" in told
    machine.start()
    assert "NotFound" in machine.refused("get", "configmap", "later")
    found = metadata(machine, "kept")
    assert (found["uid"], found["resourceVersion"]) == (kept["uid"], kept["resourceVersion"])
    raw = f"{CONFIG_MAPS}?watch=true&timeoutSeconds=5&resourceVersion={later}"
    assert '"code":410' in machine.kubectl("get", "--raw", raw)
    machine.kubectl("create", "configmap", "new")
    assert int(metadata(machine, "new")["resourceVersion"]) > BUMP
    # Whoever joins reads what was restored from a member of its own, though no log of etcd has it.
    join = (f"--server=https://127.0.0.1:{machine.port}", f"--token={machine.kpy('token').strip()}")
    second = Machine(tmp_path / "two", 2, *join, *NO_LOOPS)
    try:
        second.start()
        wait_for(lambda: second.has("default"), second.told)
        assert metadata(second, "kept") == found
    finally:
        second.lose()
