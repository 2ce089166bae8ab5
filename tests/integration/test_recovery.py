"""A damaged datastore is replaced by the newest good snapshot, and everybody is told."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from minikube_py.cli.check import examine
from minikube_py.lib.errors import StartError
from tests.integration.amazon import REGION, Amazon
from tests.integration.conftest import Server, running

MAPS = "/api/v1/namespaces/default/configmaps"


async def make(server: Server, name: str) -> Any:
    body = {"metadata": {"name": name}, "data": {"a": "b" * 2000}}
    return (await server.call("POST", MAPS, body)).body


async def snapshot(server: Server, kind: str = "test") -> Path:
    assert server.app.snapshots is not None
    return (await server.app.snapshots.save(kind))[1]


async def told(server: Server) -> Any:
    """Return the first event of the namespace, once there is one."""
    async with asyncio.timeout(60):
        while True:
            events = await server.call("GET", "/api/v1/namespaces/default/events")
            if events.body["items"]:
                return events.body["items"][0]


def harm(data_dir: Path) -> bytes:
    path = data_dir / "server/db/state.db"
    data = bytearray(path.read_bytes())
    for start in range(4096 * 2, len(data), 4096):
        data[start : start + 16] = b"\xff" * 16
    path.write_bytes(data)
    return bytes(data)


async def test_a_damaged_datastore_is_recovered_from_the_newest_good_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = tmp_path / "var/lib/kpy"
    async with running(data_dir) as server:
        kept = await make(server, "kept")
        secret = {"metadata": {"name": "login"}, "stringData": {"password": "p"}}
        await server.call("POST", "/api/v1/namespaces/default/secrets", secret)
        good = await snapshot(server)
        later = await make(server, "later")
        worse = await snapshot(server)
    worse.write_bytes(worse.read_bytes()[:-3000])
    damaged = harm(data_dir)
    foreign = data_dir / "snapshots" / "foreign-x-1.tar"
    async with running(tmp_path / "other") as other:
        foreign.write_bytes((await snapshot(other)).read_bytes())
    async with running(data_dir) as server:
        assert (await server.call("GET", f"{MAPS}/kept")).body["metadata"] == kept["metadata"]
        assert (await server.call("GET", f"{MAPS}/later")).status == 404
        found = await server.call("GET", "/api/v1/namespaces/default/secrets/login")
        assert found.body["data"] == {"password": "cA=="}
        version = later["metadata"]["resourceVersion"]
        watch = await server.call("GET", f"{MAPS}?watch=1&resourceVersion={version}")
        assert b'"code":410' in watch.raw
        event = await told(server)
        assert (event["reason"], event["type"]) == ("DatastoreRecovered", "Warning")
        assert "everything written after" in event["message"]
    record = json.loads((data_dir / "server/recovery.json").read_text())
    assert record["snapshot"] == good.stem
    (moved,) = (data_dir / "server/db").glob("damaged-*/state.db")
    assert str(moved.parent) == record["moved"]
    assert moved.read_bytes() == damaged
    assert record["snapshot"] in caplog.text
    (finding,) = [one for one in examine(tmp_path) if one.name == "datastore"]
    assert not finding.is_there
    assert good.stem in finding.detail
    async with running(data_dir) as server:
        assert (await server.call("GET", f"{MAPS}/kept")).status == 200


async def test_a_datastore_that_was_emptied_is_damaged_too(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        kept = await make(server, "kept")
        await snapshot(server)
    os.truncate(tmp_path / "server/db/state.db", 0)
    async with running(tmp_path) as server:
        assert (await server.call("GET", f"{MAPS}/kept")).body["metadata"] == kept["metadata"]


async def test_secrets_of_a_key_that_was_dropped_since_can_be_read(tmp_path: Path) -> None:
    from minikube_py.cli.secrets_encrypt import rotated  # noqa: PLC0415 -- the command's own
    from minikube_py.server.encryption.configuration import Configuration  # noqa: PLC0415
    from minikube_py.server.encryption.files import Files  # noqa: PLC0415

    async with running(tmp_path) as server:
        secret = {"metadata": {"name": "login"}, "stringData": {"password": "p"}}
        await server.call("POST", "/api/v1/namespaces/default/secrets", secret)
        await snapshot(server)
    files = Files.of(tmp_path / "server")
    (rule,) = files.read()[0].rules
    fresh = rotated(rule)
    files.write(Configuration((type(rule)(rule.resources, fresh.sealers[:1]),)))
    harm(tmp_path)
    async with running(tmp_path) as server:
        found = await server.call("GET", "/api/v1/namespaces/default/secrets/login")
        assert found.body["data"] == {"password": "cA=="}
        assert files.read()[0].rules[0].sealers[0] == fresh.sealers[0]


async def test_without_a_snapshot_nothing_is_made_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await make(server, "kept")
    damaged = harm(tmp_path)
    with pytest.raises(StartError, match="kpy snapshot restore FILE --force"):
        async with running(tmp_path):
            pass
    assert (tmp_path / "server/db/state.db").read_bytes() == damaged


async def test_a_snapshot_that_only_the_bucket_has_whole_is_fetched(tmp_path: Path) -> None:
    amazon = Amazon(tmp_path / "log")
    try:
        amazon.client("s3").create_bucket(Bucket="backups")
        options = {
            "snapshot_s3_bucket": "backups",
            "snapshot_s3_endpoint": amazon.url,
            "snapshot_s3_region": REGION,
            "snapshot_s3_access_key": "testing",
            "snapshot_s3_secret_key": "top-secret",
        }
        data_dir = tmp_path / "data"
        async with running(data_dir, **options) as server:
            older = await snapshot(server, "older")
            await make(server, "kept")
            newer = await snapshot(server, "newer")
        async with running(tmp_path / "other", **options) as other:
            await snapshot(other, "foreign")
        newer.write_bytes(newer.read_bytes()[:-3000])
        harm(data_dir)
        async with running(data_dir, **options) as server:
            assert (await server.call("GET", f"{MAPS}/kept")).status == 200
    finally:
        amazon.close()
    record = json.loads((data_dir / "server/recovery.json").read_text())
    assert record["snapshot"] == newer.stem
    assert older.exists()
    assert [path.name for path in (data_dir / "snapshots/from-bucket").iterdir()] == [newer.name]
