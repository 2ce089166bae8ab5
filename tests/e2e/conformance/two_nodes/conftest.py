"""What is tested on one node is tested here on two: `cluster` is another one, all else the same."""

import pytest

from tests.e2e.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(two_nodes: Cluster) -> Cluster:
    return two_nodes
