"""A control plane with its controllers, and the shortest way to speak with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.conformance.api import Api
from tests.integration.conftest import running


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """Run a control plane without a node: pods wait, and are deleted at once."""
    async with running(tmp_path, disable_controller_manager=False) as server:
        yield Api(server, tmp_path / "kubeconfig.yaml")


@pytest.fixture
async def space(api: Api) -> str:
    """Have a namespace of one's own, whose service account is there; returns its path."""
    await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    await api.until("/api/v1/namespaces/n/serviceaccounts/default")
    return "/api/v1/namespaces/n"
