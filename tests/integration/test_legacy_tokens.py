"""A Secret of the type service-account-token: from an empty one to a token that is refused."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from minikube_py.api.core.secret import LAST_USED
from tests.integration.conftest import Server, running
from tests.integration.test_custom_kinds import until

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SECRETS = "/api/v1/namespaces/default/secrets"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
SECONDS_MAX = 60.0


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Server]:
    """Run a control plane with its controllers."""
    async with running(tmp_path, disable_controller_manager=False) as server:
        yield server


async def made(server: Server, path: str, body: Any) -> None:
    answer = await server.call("POST", path, body)
    assert answer.status == 201, answer.body


async def filled(server: Server, name: str) -> Any:
    """Return the Secret as soon as it holds a token."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            answer = await server.call("GET", f"{SECRETS}/{name}")
            if "token" in (answer.body.get("data") or {}):
                return answer.body
            await asyncio.sleep(0.01)


async def asked(server: Server, token: str) -> tuple[int, Any]:
    """Ask the server who the bearer of a token is."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
        session.post(server.url + WHO, json={}, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_token_in_a_secret_is_good_until_the_account_goes(cluster: Server) -> None:
    await made(cluster, ACCOUNTS, {"metadata": {"name": "bot"}})
    notes = {"kubernetes.io/service-account.name": "bot"}
    body = {
        "metadata": {"name": "bot-token", "annotations": notes},
        "type": "kubernetes.io/service-account-token",
    }
    await made(cluster, SECRETS, body)
    secret = await filled(cluster, "bot-token")
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert sorted(data) == ["ca.crt", "namespace", "token"]
    assert data["namespace"] == "default"
    assert data["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")

    status, review = await asked(cluster, data["token"])
    assert status == 201
    user = review["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:default:bot"
    assert user["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]
    used = await filled(cluster, "bot-token")
    assert used["metadata"]["labels"][LAST_USED] == f"{datetime.now(UTC):%Y-%m-%d}"

    answer = await cluster.call("DELETE", f"{ACCOUNTS}/bot")
    assert answer.status == 200
    async with asyncio.timeout(SECONDS_MAX):
        while (await asked(cluster, data["token"]))[0] != 401:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await until(cluster, f"{SECRETS}/bot-token", 404)


async def test_a_secret_for_nobody_is_deleted(cluster: Server) -> None:
    notes = {"kubernetes.io/service-account.name": "nobody"}
    body = {
        "metadata": {"name": "lost", "annotations": notes},
        "type": "kubernetes.io/service-account-token",
    }
    await made(cluster, SECRETS, body)
    await until(cluster, f"{SECRETS}/lost", 404)
