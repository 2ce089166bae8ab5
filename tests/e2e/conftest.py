"""One real cluster for all end-to-end tests; root and containerd are theirs to have."""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import logs
from tests.e2e import registry as registry_program
from tests.e2e.cluster import Cluster, build_images
from tests.e2e.node.machine import wait_until

REGISTRY_PORT = 5009
"""In the machine's own network, where nobody else listens."""

BEFORE_SECONDS = 5.0
"""So much before a test failed its logs count as well: their files know the time less exactly."""
REASON_LETTERS = 400

NODES = int(os.environ.get("KPY_E2E_NODES", "1"))
"""How many machines the cluster of all tests has; `make test-two-nodes` says 2."""
os.environ.setdefault("KPY_EVICTION_HARD", "memory.available<1Mi")
os.environ.setdefault("KPY_IMAGE_GC_HIGH_THRESHOLD", "100")
# However full the machine is: nodes of tests are short of something only where a test says so.


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start `kpy server` with its node in namespaces of its own."""
    if os.geteuid() != 0:
        pytest.fail("end-to-end tests need root: they make namespaces and run containers")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        for number in range(2, NODES + 1):
            made.add_worker(f"n{number}", f"192.168.77.{number}")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Have a cluster of two machines, `n1` with the server and `n2`, on a fabric of their own.

    A test that breaks something mends it again; the next one finds both nodes ready.
    """
    flags = ("--node-monitor-grace-period=20s",)
    made = Cluster(tmp_path_factory.mktemp("two-nodes"), flags=flags)
    try:
        made.start()
        made.add_worker("n2", "192.168.77.2")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve images in the machine (see registry.py); return `address:port`."""
    archive = build_images() / "busybox.tar"
    names = ("tests/busybox", "private/busybox", "library/mirrored")
    images = [f"{name}={archive}" for name in names]
    line = [sys.executable, str(Path(registry_program.__file__)), str(REGISTRY_PORT), *images]
    server = cluster.machine.start(line, tmp_path_factory.mktemp("registry") / "log")
    address = f"127.0.0.1:{REGISTRY_PORT}"
    ask = ("busybox", "wget", "-q", "-O-", f"http://{address}/v2/")
    wait_until(lambda: cluster.machine.sh(*ask, check=False), 20, "the registry answers")
    yield address
    server.kill()
    server.wait()


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a test a namespace of its own, and take it away without waiting for its end."""
    test, _, case = request.node.name.lower().replace("_", "-").rstrip("]").partition("[")
    name = f"{test[:45].strip('-')}-{case[:12]}".strip("-")
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show how the logs of machines end beside a test that failed; the last line is in its reason.

    The reason is all that a summary shows.
    """
    report = yield
    ends = logs.added_to(call.start - BEFORE_SECONDS) if report.failed else []
    for end in ends:
        report.sections.append((f"{logs.SECTION} {end.name}", "\n".join(end.lines)))
    crash = getattr(report.longrepr, "reprcrash", None)
    if ends and crash is not None:
        first, newline, rest = crash.message.partition("\n")
        crash.message = f"{first[:REASON_LETTERS]}; {_last(ends[-1])}{newline}{rest}"
    return report


def _last(end: logs.Ending) -> str:
    return f"{end.name} ends: {end.lines[-1][:REASON_LETTERS]}"
