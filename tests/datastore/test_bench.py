"""The measurement of the datastores measures each of its kinds, in a very short run."""

from pathlib import Path

import pytest

from tests.bench import datastore, report
from tests.ports import free_port

STAND_IN = """#!/bin/sh
for word in "$@"; do
  case $word in
    --listen-address=*) url=${word#*=} ;;
    --endpoint=sqlite://*) place=${word#--endpoint=sqlite://} ;;
  esac
done
exec etcd "--data-dir=${place%%\\?*}" "--listen-client-urls=$url" "--advertise-client-urls=$url" \
  --listen-peer-urls=PEER --initial-advertise-peer-urls=PEER --initial-cluster=default=PEER
"""
"""Takes kine's flags and is an etcd."""


async def test_every_store_is_measured_and_what_has_a_budget_is_told() -> None:
    stores = ("sqlite", "postgres", "etcd")
    measured, figures = await datastore.datastore(0.01, stores)
    assert [(one.store, one.clients) for one in measured] == [
        (store, clients) for store in stores for clients in datastore.CLIENTS
    ]
    assert all(one.writes >= one.clients for one in measured)
    assert all(one.cpu_seconds >= 0 <= one.disk_bytes for one in measured)
    names = [figure.name for figure in figures]
    assert "size beside what is live" in names
    table = report.even([datastore.HEAD, *(one.cells for one in measured)])
    assert len({len(line) for line in table.splitlines()}) == 1


async def test_a_kine_is_measured_where_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kine"
    program.write_text(STAND_IN.replace("PEER", f"http://127.0.0.1:{free_port()}"))
    program.chmod(0o755)
    monkeypatch.setenv(datastore.KINE, str(program))
    measured, _ = await datastore.datastore(0.01, ("sqlite", "kine"))
    of_kine = [one for one in measured if one.store == "kine"]
    assert [one.clients for one in of_kine] == list(datastore.CLIENTS)
    assert all(one.writes >= one.clients for one in of_kine)
