"""A proxy in front of this server that authenticates users and names them in headers."""

import ssl
from pathlib import Path
from typing import Any

import aiohttp

from tests.integration.conftest import Server, running


def client(tmp_path: Path, name: str) -> ssl.SSLContext:
    folder = tmp_path / "server/tls"
    context = ssl.create_default_context(cafile=str(folder / "cluster-ca.crt"))
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


async def whoami(server: Server, tls: ssl.SSLContext, **headers: str) -> tuple[int, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.post(
            f"{server.url}/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json=body,
            headers=names,
        ) as answer,
    ):
        user = (await answer.json())["status"]["userInfo"] if answer.status == 201 else None
        return answer.status, user


async def test_a_proxy_speaks_for_users(server: Server, tmp_path: Path) -> None:
    tls = client(tmp_path, "front-proxy-client")
    headers = {
        "x_remote_user": "jane",
        "x_remote_group": "a",
        "x_remote_extra_scopes": "read",
        "x_remote_uid": "ignored",
    }
    status, user = await whoami(server, tls, **headers)
    assert status == 201
    assert user == {
        "username": "jane",
        "groups": ["a", "system:authenticated"],
        "extra": {"scopes": ["read"]},
    }


async def test_a_proxy_is_no_user_itself(tmp_path: Path) -> None:
    async with running(tmp_path, anonymous_auth=True) as server:
        status, _ = await whoami(server, client(tmp_path, "front-proxy-client"))
        assert status == 401


async def test_headers_of_others_mean_nothing(server: Server, tmp_path: Path) -> None:
    status, user = await whoami(server, client(tmp_path, "admin"), x_remote_user="jane")
    assert (status, user["username"]) == (201, "kubernetes-admin")


async def test_only_proxies_with_an_allowed_name_speak_for_users(tmp_path: Path) -> None:
    async with running(tmp_path, requestheader_allowed_names=("other",)) as server:
        tls = client(tmp_path, "front-proxy-client")
        assert (await whoami(server, tls, x_remote_user="jane"))[0] == 401
