"""The pods of a module, run together."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.batch import Batch


@pytest.fixture(scope="module")
def batch(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Batch]:
    """Run the pods of the module's CASES; those of tests that are not run are left out."""
    wanted = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and "case" in getattr(item, "callspec", _Empty).params
    ]
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name)
    made = Batch(cluster, name, getattr(request.module, "OBJECTS", ()), wanted)
    made.run()
    yield made
    cluster.kubectl("delete", "namespace", name, "--wait=false")


class _Empty:
    params: dict[str, object] = {}  # noqa: RUF012 -- never changed
