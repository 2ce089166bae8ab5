"""A plugin that keeps keys fails and comes back: health says so, and nothing is lost meanwhile."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.conftest import Server, running
from tests.integration.patience import eventually
from tests.key_service import Plugin, serving

SECRETS = "/api/v1/namespaces/default/secrets"
CONFIGURATION = """
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - kms: {{apiVersion: v2, name: vault, endpoint: "{endpoint}", timeout: 5s}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "encryption" / "configuration.yaml"
    path.parent.mkdir()
    path.write_text(CONFIGURATION.format(endpoint=f"unix://{tmp_path / 'kms.sock'}"))
    return path


@pytest.fixture
async def plugin(tmp_path: Path) -> AsyncIterator[Plugin]:
    async with serving(f"unix://{tmp_path / 'kms.sock'}") as made:
        yield made


def touch(file: Path) -> None:
    """Write the file anew: then the plugins are asked at once."""
    file.write_text(file.read_text())


async def health(server: Server) -> dict[str, int]:
    paths = ("/healthz/kms-providers", "/livez/kms-providers", "/readyz/kms-providers", "/readyz")
    return {path: (await server.call("GET", path)).status for path in paths}


async def test_health_tells_whether_the_plugin_can_be_used(
    plugin: Plugin, file: Path, tmp_path: Path
) -> None:
    options = {"encryption_provider_config": str(file)}
    async with running(tmp_path / "data", **options) as server:
        assert set((await health(server)).values()) == {200}
        secret = {"metadata": {"name": "s"}, "stringData": {"k": "planted"}}
        assert (await server.call("POST", SECRETS, secret)).status == 201

        plugin.health = "sealed off"
        touch(file)
        await eventually(lambda: health(server), lambda seen: set(seen.values()) == {500})
        answer = await server.call("GET", "/readyz")
        assert b"[-]kms-providers failed: reason withheld" in answer.raw
        reason = (await server.call("GET", "/healthz/kms-providers")).raw
        assert reason == b"internal server error: KMS is not healthy: sealed off\n"
        # What is sealed stays readable with the seeds that are known.
        assert (await server.call("GET", f"{SECRETS}/s")).status == 200

        plugin.health = "ok"
        touch(file)
        await eventually(lambda: health(server), lambda seen: set(seen.values()) == {200})
