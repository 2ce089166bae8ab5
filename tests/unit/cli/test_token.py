"""Bootstrap tokens: the Secrets that are made, and what is listed of them."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from minikube_py.cli.token import expiry, row_of, secret_of
from minikube_py.lib.errors import StartError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOKEN = "abcdef.0123456789abcdef"


def made(**more: Any) -> dict[str, Any]:
    given = {
        "description": "for the new rack",
        "usages": ("signing", "authentication"),
        "groups": ("system:bootstrappers:rack",),
        "expires": expiry("24h0m0s", NOW),
        **more,
    }
    return secret_of(TOKEN, **given)


def test_a_token_is_a_secret() -> None:
    secret = made()
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    assert secret["type"] == "bootstrap.kubernetes.io/token"
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert data == {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "description": "for the new rack",
        "expiration": "2026-11-23T12:00:00Z",
        "auth-extra-groups": "system:bootstrappers:rack",
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
    }


def test_a_list_shows_no_secret() -> None:
    row = row_of(made(), NOW)
    assert row == (
        "abcdef",
        "24h0m",
        "2026-11-23T12:00:00Z",
        "authentication,signing",
        "for the new rack",
        "system:bootstrappers:rack",
    )
    bare = row_of(made(description="", usages=(), groups=(), expires=expiry("0", NOW)), NOW)
    assert bare == ("abcdef", "<forever>", "<never>", "<none>", "<none>", "<none>")
    over = row_of(made(expires=NOW), NOW)
    assert over[1] == "<expired>"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"usages": ("guessing",)}, "--usages 'guessing'"),
        ({"groups": ("system:masters",)}, "--groups 'system:masters'"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(StartError, match=text):
        made(**wrong)


def test_a_token_has_its_form() -> None:
    with pytest.raises(StartError, match="not of the form"):
        secret_of("short", description="", usages=(), groups=(), expires=None)


@pytest.mark.parametrize("ttl", ["a day", "-1h"])
def test_a_time_to_live_is_a_duration(ttl: str) -> None:
    with pytest.raises(StartError, match="--ttl"):
        expiry(ttl, NOW)
