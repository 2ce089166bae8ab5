"""A sealed log holds what was put last, whatever happens to its end; only the key opens it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.lib import sealed_log
from minikube_py.lib.sealed_log import SealedLog, key_of

KEY = key_of(b"the node's secret", b"test")


def opened(file: Path, key: bytes = KEY) -> SealedLog:
    log = SealedLog(file, key)
    log.open()
    return log


def write(log: SealedLog) -> None:
    log.take()
    log.write()


def content(log: SealedLog) -> dict[str, bytes | None]:
    return {name: log.read(name) for name in log.names()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.binary(max_size=8)))
    ),
    cut=st.integers(0, 30),
)
def test_it_is_a_dictionary_that_survives_and_a_torn_end_costs_the_last_batch_alone(
    tmp_path, batches, cut
):
    file = tmp_path / os.urandom(8).hex()
    wanted: dict[str, bytes] = {}
    sizes = [0]
    states = [dict(wanted)]
    log = opened(file)
    for batch in batches:
        for name, data in batch:
            if data is None:
                log.remove(name)
                wanted.pop(name, None)
            else:
                log.put(name, data)
                wanted[name] = data
        assert content(log) == wanted
        write(log)
        assert content(log) == wanted
        sizes.append(file.stat().st_size)
        states.append(dict(wanted))
    log.close()
    assert content(opened(file)) == wanted
    if len(sizes) > 1 and sizes[-1] - sizes[-2] > cut > 0:
        os.truncate(file, sizes[-1] - cut)
        found = content(opened(file))
        known = {**states[-2], **states[-1]}
        assert set(found) <= set(known)
        assert {name for name in states[-2] if states[-1].get(name) == states[-2][name]} <= set(
            found
        )


def test_what_is_equal_is_not_written(tmp_path):
    log = opened(tmp_path / "log")
    log.put("a", b"1")
    write(log)
    size = (tmp_path / "log").stat().st_size
    log.put("a", b"1")
    log.remove("b")
    assert not log.is_changed
    log.close()
    again = opened(tmp_path / "log")
    again.put("a", b"1")
    assert not again.is_changed
    assert (tmp_path / "log").stat().st_size == size


def test_nobody_reads_it_without_the_key_and_its_mode_is_private(tmp_path):
    log = opened(tmp_path / "log")
    log.put("secret/password", b"correct horse")
    write(log)
    data = (tmp_path / "log").read_bytes()
    assert b"horse" not in data
    assert b"password" not in data
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert content(opened(tmp_path / "log", key_of(b"another", b"test"))) == {}


def test_a_file_that_is_mostly_outlived_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed_log, "SLACK_BYTES", 1000)
    log = opened(tmp_path / "log")
    log.put("still", b"here")
    for number in range(200):
        log.put("changes", b"%d" % number * 20)
        write(log)
    assert (tmp_path / "log").stat().st_size < 3000
    assert content(log) == {"still": b"here", "changes": b"199" * 20}
    log.close()
    again = opened(tmp_path / "log")
    assert content(again) == {"still": b"here", "changes": b"199" * 20}
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_what_a_full_disk_did_not_take_is_written_later(tmp_path, monkeypatch):
    log = opened(tmp_path / "log")
    log.put("a", b"1")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        log.take()
        with pytest.raises(OSError, match="No space"):
            log.write()
    assert log.is_changed
    assert log.read("a") == b"1"
    log.put("a", b"2")
    write(log)
    assert content(opened(tmp_path / "log")) == {"a": b"2"}
