"""The audit log's file: rotation, the queue before it, and disks that are full."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.server.audit import sink as sinks
from minikube_py.server.audit.rotation import RotatingFile
from minikube_py.server.audit.sink import LogSink, encode, encode_legacy
from tests.virtual_time import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENTRY = {
    "kind": "Event",
    "auditID": "id",
    "stage": "ResponseComplete",
    "requestURI": "/api",
    "verb": "get",
    "user": {"username": "jane", "groups": ["a", "b"]},
    "sourceIPs": ["192.0.2.1"],
    "stageTimestamp": "2026-01-01T00:00:00.000000Z",
    "responseStatus": {"metadata": {}, "code": 200},
}


def small(folder, **more):
    file = RotatingFile(str(folder / "audit.log"), **more)
    file._bytes_max = 100
    return file


def test_a_full_file_is_set_aside_under_the_time_of_it(tmp_path):
    file = small(tmp_path)
    for minute in range(3):
        file.write(b"x" * 59 + b"\n", NOW + timedelta(minutes=minute))
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "audit-2026-01-01T00-01-00.000.log",
        "audit-2026-01-01T00-02-00.000.log",
        "audit.log",
    ]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_only_so_many_and_so_old_files_are_kept(tmp_path):
    file = small(tmp_path, backups_max=2)
    (tmp_path / "audit-other.log").write_text("not mine")
    for hour in range(6):
        file.write(b"x" * 90, NOW + timedelta(hours=hour))
    assert len(file.backups()) == 2
    aged = small(tmp_path, days_max=1)
    aged.write(b"x" * 90, NOW + timedelta(days=3))
    assert len(aged.backups()) == 1  # the one just set aside
    assert (tmp_path / "audit-other.log").exists()
    file.close()
    aged.close()


@given(sizes=st.lists(st.integers(1, 120), max_size=30))
@settings(max_examples=25)
def test_nothing_is_lost_and_no_file_but_one_of_a_single_batch_is_above_the_bound(
    tmp_path_factory, sizes
):
    folder = tmp_path_factory.mktemp("audit")
    file = small(folder)
    for number, size in enumerate(sizes):
        file.write(b"x" * size, NOW + timedelta(seconds=number))
    file.close()
    found = [path.stat().st_size for path in folder.iterdir()]
    assert sum(found) == sum(sizes)
    assert all(size <= 100 or size in sizes for size in found)


@contextlib.asynccontextmanager
async def running(sink):
    task = asyncio.get_running_loop().create_task(sink.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lines(folder):
    return (folder / "audit.log").read_text().splitlines()


async def test_what_is_put_is_written_at_the_latest_when_the_server_ends(tmp_path):
    sink = LogSink(RotatingFile(str(tmp_path / "audit.log")), VirtualClock())
    async with running(sink):
        for _ in range(5):
            sink.put(ENTRY, omit_managed_fields=False)
        await asyncio.sleep(0)
    assert [json.loads(line)["auditID"] for line in lines(tmp_path)] == ["id"] * 5


async def test_a_batching_sink_drops_and_counts_what_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "QUEUE_MAX", 3)
    sink = LogSink(RotatingFile(str(tmp_path / "audit.log")), VirtualClock())
    for _ in range(5):
        sink.put(ENTRY, omit_managed_fields=False)
    await sink.written()  # nobody waits in this mode
    assert sink.dropped == 2


async def test_a_blocking_sink_has_written_before_the_answer_goes_out(tmp_path):
    path = str(tmp_path / "audit.log")
    sink = LogSink(RotatingFile(path), VirtualClock(), mode=sinks.BLOCKING)
    async with running(sink), asyncio.timeout(30):
        sink.put(ENTRY, omit_managed_fields=False)
        await sink.written()
        assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize("mode", [sinks.BLOCKING, sinks.STRICT])
async def test_a_full_disk_is_counted_and_only_the_strict_mode_refuses(tmp_path, mode):
    file = RotatingFile(str(tmp_path / "audit.log"))

    def write(_data, _now):
        raise OSError(28, "No space left on device")

    file.write = write
    sink = LogSink(file, VirtualClock(), mode=mode)
    async with running(sink), asyncio.timeout(30):
        sink.put(ENTRY, omit_managed_fields=False)
        expected = pytest.raises(OSError, match="space") if mode == sinks.STRICT else None
        with expected or contextlib.nullcontext():
            await sink.written()
    assert sink.failed == 1


def test_bodies_are_written_without_managed_fields_where_the_policy_says_so():
    body = {"metadata": {"name": "a", "managedFields": [{}]}}
    many = {"items": [body], "metadata": {}}
    entry = {**ENTRY, "requestObject": body, "responseObject": lambda: many}
    line = json.loads(encode(entry, True))  # noqa: FBT003
    assert line["requestObject"] == {"metadata": {"name": "a"}}
    assert line["responseObject"]["items"] == [{"metadata": {"name": "a"}}]
    assert "managedFields" in encode(entry, False).decode()  # noqa: FBT003


@given(text=st.text(), number=st.integers())
def test_an_event_of_anything_is_one_line_of_json(text, number):
    strange = text + "\udc80"
    entry = {**ENTRY, "userAgent": strange, "requestObject": {"a": number}}
    line = encode(entry, False)  # noqa: FBT003
    assert line.count(b"\n") == 1
    assert json.loads(line)["userAgent"] == strange


@given(text=st.text())
def test_a_legacy_line_stays_on_its_line_whatever_a_client_says(text):
    entry = {**ENTRY, "userAgent": text, "requestURI": text, "user": {"username": "jane"}}
    line = encode_legacy(entry, False)  # noqa: FBT003
    assert line.count(b"\n") == 1
    assert line.decode().endswith('response="200"\n')
