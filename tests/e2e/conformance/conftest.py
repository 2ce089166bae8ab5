"""The pods of a module, run together."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.batch import Batch
from tests.e2e.conformance.lives import Lives
from tests.e2e.conformance.net import Net


@pytest.fixture(scope="module")
def batch(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Batch]:
    """Run the pods of the module's CASES; those of tests that are not run are left out."""
    with _namespace(cluster, request) as name:
        objects = getattr(request.module, "OBJECTS", ())
        made = Batch(cluster, name, objects, _chosen(request, "case"))
        made.run()
        yield made


@pytest.fixture(scope="module")
def lives(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Lives]:
    """Run the pods of the module's LIVES; those of tests that are not run are left out."""
    with _namespace(cluster, request) as name:
        made = Lives(cluster, name, _chosen(request, "life"))
        made.run()
        yield made


def _chosen(request: pytest.FixtureRequest, parameter: str) -> list[Any]:
    """Return the values of a parameter that the chosen tests of the module have."""
    calls = [getattr(i, "callspec", None) for i in request.session.items if i.path == request.path]
    return [call.params[parameter] for call in calls if call and parameter in call.params]


@contextlib.contextmanager
def _namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Have a namespace named after the module."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def net(cluster: Cluster, namespace: str) -> Net:
    """Have a namespace whose services and pods are asked."""
    return Net(cluster, namespace)
