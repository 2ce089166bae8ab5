"""A real etcd, which the face is held against."""

from collections.abc import Iterator

import pytest

from tests.datastore import etcd_server
from tests.datastore.etcd_server import Member


@pytest.fixture(scope="session")
def real_etcd() -> Iterator[Member]:
    """Yield a member of etcd that runs for the session."""
    with etcd_server.etcd() as member:
        yield member
