"""Names and types of metrics are those of the reference API server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Server

NAMES = Path(__file__).parents[3] / "shared" / "reference" / "facts" / "metrics-names.txt"
SAMPLE = re.compile(
    r"(?P<name>[a-z_:]+)"
    r'(?P<labels>\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})?'
    r" (?:[0-9.e+-]+|\+Inf)"
)
OTHERS = {
    "apiserver_audit_error_total",
    "apiserver_audit_level_total",
    # upstream has them too; the list is of a server that had not used them yet
    "apiserver_flowcontrol_rejected_requests_total",
    "apiserver_flowcontrol_request_wait_duration_seconds",
    "apiserver_flowcontrol_current_inqueue_requests",
    "apiserver_flowcontrol_current_inqueue_seats",
    # kube-scheduler's, which upstream has on a port of its own
    "scheduler_pending_pods",
    "scheduler_preemption_attempts_total",
    # upstream's loop is not one, and its datastore is not in its process
    "kpy_event_loop_late_seconds",
    "kpy_datastore_commits_total",
    "kpy_datastore_written_bytes_total",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("metrics"), "--disable-controller-manager")
    made.start()
    yield made
    made.stop()


def test_names_and_types_are_upstreams(server: Server) -> None:
    server.kubectl("create", "configmap", "one")
    server.kubectl("get", "pods", "--all-namespaces")
    page = server.kubectl("get", "--raw", "/metrics")
    heads = [line.split()[2:4] for line in page.splitlines() if line.startswith("# TYPE ")]
    known = dict(line.split() for line in NAMES.read_text().splitlines())
    unknown = {name: kind for name, kind in heads if known.get(name) != kind}
    assert set(unknown) <= OTHERS, unknown
    assert len(heads) > 20


def test_every_line_is_a_sample_of_the_metric_above_it(server: Server) -> None:
    page = server.kubectl("get", "--raw", "/metrics")
    name = ""
    seen = set()
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            continue
        if line.startswith("# TYPE "):
            assert line.split()[2] == name
            continue
        found = SAMPLE.fullmatch(line)
        assert found is not None, line
        assert found["name"] in {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}, line
        assert (found["name"], found["labels"]) not in seen, line
        seen.add((found["name"], found["labels"]))
