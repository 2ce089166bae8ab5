"""Every backend under one suite: a test that takes `backend` runs against all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.open import open_backend
from minikube_py.server.encryption.backend import SealedBackend
from minikube_py.server.encryption.configuration import Configuration, Rule, Sealer, new_key
from minikube_py.server.encryption.services import Services

ENDPOINTS = {"memory": "memory://", "sqlite": ""}
PERSISTENT = {"sqlite": ""}

Reopen = Callable[[Backend], Awaitable[Backend]]


@pytest.fixture(params=[*sorted(ENDPOINTS), "sealed"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "sealed":
        opened: Backend = await sealed()
    else:
        opened = await open_backend(ENDPOINTS[request.param], data_dir=tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=sorted(PERSISTENT))
def endpoint(request: pytest.FixtureRequest) -> str:
    return PERSISTENT[request.param]


async def sealed() -> SealedBackend:
    """Return a datastore in which every value is encrypted."""
    outer = SealedBackend(MemoryBackend(), Services().keyring)
    await outer.use(Configuration((Rule(("*.*",), (Sealer("aesgcm", new_key()),)),)))
    return outer
