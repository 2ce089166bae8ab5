"""Every backend under one suite: a test that takes `backend` runs against all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.open import open_backend
from minikube_py.server.encryption.backend import SealedBackend
from minikube_py.server.encryption.configuration import Configuration, Rule, Sealer, new_key
from minikube_py.server.encryption.services import Services
from tests.datastore import etcd_server, servers
from tests.datastore.counted import CountedBackend
from tests.datastore.etcd_server import Member
from tests.datastore.servers import Server

ENDPOINTS = {"memory": "memory://", "sqlite": ""}
DATABASES = ("postgres", "mariadb")

Reopen = Callable[[Backend], Awaitable[Backend]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Yield a PostgreSQL server."""
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """Yield a MariaDB server."""
    with servers.mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def etcd() -> Iterator[Member]:
    """Yield a cluster of etcd with one member."""
    with etcd_server.etcd() as member:
        yield member


@pytest.fixture(params=[*sorted(ENDPOINTS), *DATABASES, "etcd", "sealed"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "sealed":
        opened: Backend = await sealed()
    elif request.param == "etcd":
        opened = await counted(request.getfixturevalue("etcd"))
    else:
        opened = await open_backend(endpoint_of(request, request.param), data_dir=tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", *DATABASES])
def endpoint(request: pytest.FixtureRequest) -> str:
    """Return the endpoint of an empty store that outlives the process."""
    return endpoint_of(request, request.param)


@pytest.fixture(params=DATABASES)
def shared(request: pytest.FixtureRequest) -> str:
    """Return the endpoint of an empty store that several servers may use."""
    return endpoint_of(request, request.param)


def endpoint_of(request: pytest.FixtureRequest, name: str) -> str:
    if name in ENDPOINTS:
        return ENDPOINTS[name]
    server: Server = request.getfixturevalue(name)
    return server.endpoint()


async def counted(etcd: Member) -> CountedBackend:
    """Return a store in etcd that is empty and at revision 0."""
    await etcd.grant()
    base = etcd.empty()
    return CountedBackend(await open_backend(etcd.client, data_dir=Path("/nonexistent")), base)


async def sealed() -> SealedBackend:
    """Return a datastore in which every value is encrypted."""
    outer = SealedBackend(MemoryBackend(), Services().keyring)
    await outer.use(Configuration((Rule(("*.*",), (Sealer("aesgcm", new_key()),)),)))
    return outer
