"""Every backend under one suite: a test that takes `backend` runs against all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import open_backend

ENDPOINTS = {"memory": "memory://", "sqlite": ""}
PERSISTENT = {"sqlite": ""}

Reopen = Callable[[Backend], Awaitable[Backend]]


@pytest.fixture(params=sorted(ENDPOINTS))
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    opened = await open_backend(ENDPOINTS[request.param], data_dir=tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=sorted(PERSISTENT))
def endpoint(request: pytest.FixtureRequest) -> str:
    return PERSISTENT[request.param]
