"""What administrators do with etcdctl works on `kpy etcd`, which is a program here."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minikube_py.datastore.history import history_of
from minikube_py.datastore.open import open_backend
from minikube_py.lib import pki
from minikube_py.lib.authority import ensure_ca
from minikube_py.lib.pki import Subject
from minikube_py.server.config import ServerConfig
from tests.datastore.etcd_server import Member
from tests.datastore.face.program import Face, etcdctl


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    one = Face(tmp_path_factory.mktemp("face"))
    try:
        one.start()
        yield one
    finally:
        one.stop()


def test_keys_are_put_read_and_deleted(face: Face) -> None:
    assert face.ctl("put", "k/a", "1") == "OK\n"
    assert face.ctl("put", "k/a", "2", "--prev-kv") == "OK\nk/a\n1\n"
    face.ctl("put", "k/b", "3")
    assert face.ctl("get", "k/a") == "k/a\n2\n"
    assert face.ctl("get", "k/", "--prefix", "--keys-only") == "k/a\n\nk/b\n\n"
    assert face.ctl("get", "k/a", "k/b") == "k/a\n2\n"
    ordered = face.ctl("get", "k/", "--prefix", "--order=DESCEND", "--sort-by=MODIFY")
    assert ordered == "k/b\n3\nk/a\n2\n"
    (shown,) = json.loads(face.ctl("get", "k/a", "-w", "json"))["kvs"]
    assert shown["version"] == 2
    assert shown["mod_revision"] == shown["create_revision"] + 1
    assert face.ctl("get", "k/a", f"--rev={shown['create_revision']}") == "k/a\n1\n"
    assert face.ctl("del", "k/", "--prefix", "--prev-kv") == "2\nk/a\n2\nk/b\n3\n"
    assert face.ctl("get", "k/", "--prefix") == ""


def test_a_transaction_takes_one_of_two_ways(face: Face) -> None:
    face.ctl("put", "t/a", "1")
    request = 'value("t/a") = "1"\nversion("t/none") = "0"\n\nput t/b 2\ndel t/a\n\nget t/a\n\n'
    assert face.ctl("txn", text=request) == "SUCCESS\n\nOK\n\n1\n"
    assert face.ctl("txn", text=request) == "FAILURE\n\n"
    twice = face.ctl("txn", text="\nput t/a 1\nput t/a 2\n\n\n", status=1)
    assert "etcdserver: duplicate key given in txn request" in twice


def test_a_watch_shows_what_was_and_what_comes(face: Face) -> None:
    first = json.loads(face.ctl("put", "w/a", "1", "-w", "json"))["header"]["revision"]
    watch = subprocess.Popen(
        ["etcdctl", f"--endpoints={face.url}", "watch", "--prefix", "w/", f"--rev={first}"],
        env={"ETCDCTL_API": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        assert [watch.stdout.readline() for _ in range(3)] == ["PUT\n", "w/a\n", "1\n"]
        face.ctl("del", "w/a")
        assert [watch.stdout.readline() for _ in range(3)] == ["DELETE\n", "w/a\n", "\n"]
    finally:
        watch.kill()
        watch.communicate()


def test_a_lease_takes_its_keys_with_it(face: Face) -> None:
    lease = face.ctl("lease", "grant", "300").split()[1]
    face.ctl("put", "l/a", "1", f"--lease={lease}")
    face.ctl("put", "l/b", "1", f"--lease={lease}")
    face.ctl("put", "l/b", "2")
    told = face.ctl("lease", "timetolive", lease, "--keys")
    assert f"lease {lease} granted with TTL(300s)" in told
    assert "attached keys([l/a])" in told
    assert lease in face.ctl("lease", "list")
    assert f"lease {lease} keepalived with TTL(300)" in face.ctl(
        "lease", "keep-alive", lease, "--once"
    )
    assert face.ctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert face.ctl("get", "l/", "--prefix") == "l/b\n2\n"
    gone = face.ctl("put", "l/a", "1", f"--lease={lease}", status=1)
    assert "etcdserver: requested lease not found" in gone
    assert "already expired" in face.ctl("lease", "timetolive", lease)


def test_history_is_compacted(face: Face) -> None:
    first = json.loads(face.ctl("put", "c/a", "1", "-w", "json"))["header"]["revision"]
    last = json.loads(face.ctl("put", "c/a", "2", "-w", "json"))["header"]["revision"]
    assert face.ctl("compaction", str(last)) == f"compacted revision {last}\n"
    lost = face.ctl("get", "c/a", f"--rev={first}", status=1)
    assert "etcdserver: mvcc: required revision has been compacted" in lost
    again = face.ctl("compaction", str(last), status=1)
    assert "required revision has been compacted" in again
    assert face.ctl("defrag").startswith("Finished defragmenting")
    canceled = face.ctl("watch", "c/a", f"--rev={first}", status=None)
    assert "watch was canceled (etcdserver: mvcc: required revision has been compacted)" in canceled


def test_the_endpoint_is_healthy_and_says_who_it_is(face: Face) -> None:
    assert face.ctl("endpoint", "health", status=0) == ""  # etcdctl says it on stderr
    (status,) = json.loads(face.ctl("endpoint", "status", "-w", "json"))
    assert status["Status"]["dbSize"] > 0
    assert status["Status"]["leader"] == status["Status"]["header"]["member_id"]
    (member,) = json.loads(face.ctl("member", "list", "-w", "json"))["members"]
    assert member["clientURLs"] == [face.url]
    assert json.loads(face.ctl("endpoint", "hashkv", "-w", "json"))[0]["HashKV"]["hash"] > 0
    assert face.ctl("alarm", "list") == ""


def test_what_is_not_supported_is_refused_by_name(face: Face) -> None:
    assert "kpy: Auth.UserList is not supported" in face.ctl("user", "list", status=1)
    assert "kpy: Cluster.MemberRemove is not supported" in face.ctl(
        "member", "remove", "1", status=1
    )
    assert "keys below /kpy/etcd/ are kpy's own" in face.ctl("put", "/kpy/etcd/x", "", status=1)


def test_a_snapshot_is_one_that_etcd_starts_from(face: Face, tmp_path: Path) -> None:
    face.ctl("put", "s/0", "1")
    puts = "".join(f"put s/b{n} {'y' * n * 3}\n" for n in range(1, 120))
    face.ctl("txn", text=f"\n{puts}\n\n")  # more than one page of the database
    face.ctl("put", "s/large", "z" * 20_000)
    lease = face.ctl("lease", "grant", "5000").split()[1]
    face.ctl("put", "s/leased", "1", f"--lease={lease}")
    face.ctl("del", "s/0")
    file = tmp_path / "snapshot.db"
    face.ctl("snapshot", "save", str(file))
    content = file.read_bytes()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    keys, newest = face.ctl("get", "", "--prefix"), face.ctl("get", "s/leased", "-w", "json")
    told = json.loads(etcdctl("unused", "snapshot", "status", str(file), "-w", "json"))
    assert told["revision"] == json.loads(newest)["header"]["revision"]
    restored = Member(tmp_path)
    etcdctl(
        "unused", "snapshot", "restore", str(file), f"--data-dir={restored.folder / 'data'}",
        f"--name={restored.name}", f"--initial-cluster={restored.name}={restored.peer}",
        f"--initial-advertise-peer-urls={restored.peer}",
    )  # fmt: skip
    try:
        restored.start()
        restored.wait()
        etcdctl(restored.client, "del", "\x7fready")
        assert etcdctl(restored.client, "get", "", "--prefix") == keys
        (theirs,) = json.loads(etcdctl(restored.client, "get", "s/leased", "-w", "json"))["kvs"]
        assert [theirs] == json.loads(newest)["kvs"]
        old = etcdctl(restored.client, "get", "s/b1", f"--rev={told['revision'] - 1}", status=1)
        assert "required revision has been compacted" in old
        assert "attached keys([s/leased])" in etcdctl(
            restored.client, "lease", "timetolive", lease, "--keys"
        )
    finally:
        restored.kill()


def test_leases_and_keys_outlive_the_process_and_end_in_time(tmp_path: Path) -> None:
    face = Face(tmp_path)
    try:
        face.start()
        long, short = (face.ctl("lease", "grant", ttl).split()[1] for ttl in ("300", "2"))
        face.ctl("put", "long", "1", f"--lease={long}")
        face.ctl("put", "short", "1", f"--lease={short}")
        face.stop(kill=True)
        face.start()
        assert "attached keys([long])" in face.ctl("lease", "timetolive", long, "--keys")
        seen = subprocess.Popen(
            ["etcdctl", f"--endpoints={face.url}", "watch", "short", "--rev=3"],
            env={"ETCDCTL_API": "3"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert seen.stdout is not None
        lines = [seen.stdout.readline().strip() for _ in range(5)]
        seen.kill()
        seen.communicate()
        assert lines == ["PUT", "short", "1", "DELETE", "short"]
        assert face.ctl("get", "", "--prefix") == "long\n1\n"
    finally:
        face.stop()


def test_over_tls_only_clients_of_the_authority_are_served(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = ensure_ca(tmp_path, "ca", "test-ca", now)
    here = Subject(name="face", alternatives=("127.0.0.1",))
    pki.ensure_leaf(tmp_path, "face", ca, here, "server", now=now)
    pki.ensure_leaf(tmp_path, "client", ca, Subject(name="somebody"), "client", now=now)
    files = {name: tmp_path / name for name in ("ca.crt", "face.crt", "face.key")}
    face = Face(
        tmp_path,
        f"--cert-file={files['face.crt']}",
        f"--key-file={files['face.key']}",
        f"--trusted-ca-file={files['ca.crt']}",
        scheme="https",
    )
    trusting = f"--cacert={files['ca.crt']}"
    mine = (trusting, f"--cert={tmp_path / 'client.crt'}", f"--key={tmp_path / 'client.key'}")
    try:
        face.start()
        assert face.ctl("put", "a", "1", tls=mine) == "OK\n"
        face.ctl("put", "a", "1", "--command-timeout=2s", tls=(trusting,), status=1)
    finally:
        face.stop()


def test_plain_http_is_for_loopback_only(tmp_path: Path) -> None:
    face = Face(tmp_path)
    face.url = "http://0.0.0.0:1"
    with pytest.raises(AssertionError, match="would let everybody who reaches it"):
        face.start()


async def test_a_clients_compaction_leaves_the_history_that_a_server_shows(tmp_path: Path) -> None:
    retention = ServerConfig(data_dir=tmp_path / "data").retention
    data = tmp_path / "data"
    store = await open_backend("", data_dir=data, retention=retention)
    await store.create("/registry/configmaps/default/a", b"1")
    await store.close()
    one = Face(tmp_path)
    await asyncio.to_thread(one.start)
    try:
        for value in "234":
            await asyncio.to_thread(one.ctl, "put", "/registry/configmaps/default/a", value)
        await asyncio.to_thread(one.ctl, "compact", "4")
    finally:
        await asyncio.to_thread(one.stop)
    store = await open_backend("", data_dir=data, retention=retention)
    versions = await history_of(store).versions("/registry/configmaps/default/a")
    assert [version.value for version in versions] == [b"4", b"3", b"2", b"1"]
    await store.compact(4)
    assert await history_of(store).oldest("/registry/") == 0
    await store.close()
