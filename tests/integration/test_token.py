"""`kpy token` against a server that runs."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--disable-scheduler", "--disable-controller-manager")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def whoami(server: Server, token: str) -> tuple[int, str]:
    """Ask with a token and nothing else; return the status and the user's name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(
        f"https://127.0.0.1:{server.port}/apis/authentication.k8s.io/v1/selfsubjectreviews",
        data=b"{}",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            return answer.status, json.load(answer)["status"]["userInfo"]["username"]
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_tokens_are_made_listed_deleted_and_rotated(server: Server) -> None:
    token = server.kpy("token", "create", "--description", "for the new rack").strip()
    name = token.partition(".")[0]
    assert whoami(server, token) == (201, f"system:bootstrap:{name}")
    listed = server.kpy("token", "list")
    assert name in listed
    assert "for the new rack" in listed
    assert token.partition(".")[2] not in listed
    assert server.kpy("token", "delete", token) == f"bootstrap token {name!r} deleted\n"
    assert name not in server.kpy("token", "list")
    assert whoami(server, token)[0] == 401
    server.kpy("token", "delete", name, status=1)

    before = server.kpy("token")
    after = server.kpy("token", "rotate")
    assert after != before
    assert server.kpy("token") == after
    assert server.kpy("token", "rotate", "--new-token=another-secret").endswith(":another-secret\n")
    server.stop()
    server.start()
    assert server.kpy("token").endswith(":another-secret\n")
