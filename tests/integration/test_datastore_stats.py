"""`kpy datastore stats` and the metrics of the datastore."""

from pathlib import Path

import pytest

from minikube_py.cli import datastore_stats
from minikube_py.lib.errors import StartError
from minikube_py.lib.prometheus import Histogram
from minikube_py.server.datastore_stats import latencies, quantile
from tests.integration.conftest import Server

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_running_server_tells_of_its_datastore(server: Server, tmp_path: Path) -> None:
    made = await server.call("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}})
    told = await datastore_stats._asked(tmp_path)
    assert told["backend"] == "sqlite"
    assert told["files"]["file"] > 0
    assert told["objects"] <= told["rows"] <= told["history"]["revision"]
    assert told["history"]["revision"] >= int(made.body["metadata"]["resourceVersion"])
    assert told["effort"]["commits"] > 0
    assert told["effort"]["writtenBytes"] > 0
    assert {"create", "update"} & {one["operation"] for one in told["latencies"]}
    assert "clusterroles.rbac.authorization.k8s.io" in {one["resource"] for one in told["kinds"]}
    text = "\n".join(datastore_stats.lines(told))
    assert "idle budget        50 MB a day" in text
    assert "history" in text
    page = (await server.call("GET", "/metrics")).raw.decode()
    for name in (
        "kpy_datastore_written_bytes_total",
        "kpy_datastore_commits_total",
        "apiserver_storage_size_bytes",
        "apiserver_storage_objects",
        "etcd_request_duration_seconds_count",
    ):
        assert f"\n{name}" in page


async def test_without_a_server_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no server runs on"):
        await datastore_stats._asked(tmp_path)


def test_quantiles_are_bounds_below_which_that_part_lies() -> None:
    assert quantile((1.0, 2.0), (9, 1, 0), 0.5) == 1.0
    assert quantile((1.0, 2.0), (9, 1, 0), 0.99) == 2.0
    assert quantile((1.0, 2.0), (0, 0, 5), 0.5) is None
    one, other = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    one.observe(0.5)
    other.observe(1.5)
    (told,) = latencies({("get", "pods"): one, ("get", "nodes"): other})
    assert told == {"operation": "get", "count": 2, "p50": 1.0, "p99": 2.0}
