"""Namespaces in the cluster of two machines."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net


@pytest.fixture
def lost(two_nodes: Cluster, request: pytest.FixtureRequest) -> Iterator[Net]:
    """Have a namespace for a test in which a node is lost."""
    name = request.node.name.replace("_", "-")[5:45].strip("-")
    two_nodes.kubectl("create", "namespace", name)
    two_nodes.kubectl(
        "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", name
    )
    yield Net(two_nodes, name)
    two_nodes.kubectl("delete", "namespace", name, "--wait=false")
