"""One real cluster for all end-to-end tests; root and containerd are theirs to have."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster

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
        yield made
    except BaseException:
        print(made.logs())  # noqa: T201 -- pytest shows it beside the error of the fixture
        raise
    finally:
        made.close()


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a test a namespace of its own, and take it away without waiting for its end."""
    test, _, case = request.node.name.lower().replace("_", "-").rstrip("]").partition("[")
    name = f"{test[:45].strip('-')}-{case[:12]}".strip("-")
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Show the end of the servers' logs beside a test that failed."""
    del call
    outcome: Any = yield
    report = outcome.get_result()
    used = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(used, Cluster):
        report.sections.append(("kpy", used.logs()))
