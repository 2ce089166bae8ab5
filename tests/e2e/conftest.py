"""One real cluster for all end-to-end tests; root and containerd are theirs to have."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import registry as registry_program
from tests.e2e.cluster import Cluster, build_images
from tests.e2e.node.machine import wait_until

REGISTRY_PORT = 5009
"""In the machine's own network, where nobody else listens."""

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
    except BaseException:
        print(made.logs())  # noqa: T201 -- pytest shows it beside the error of the fixture
        raise
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
    except BaseException:
        print(made.logs())  # noqa: T201 -- pytest shows it beside the error of the fixture
        raise
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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Show the end of the servers' logs beside a test that failed."""
    del call
    outcome: Any = yield
    report = outcome.get_result()
    arguments = getattr(item, "funcargs", {})
    for used in (arguments.get("cluster"), arguments.get("two_nodes")):
        if report.failed and isinstance(used, Cluster):
            report.sections.append(("kpy", used.logs()))
