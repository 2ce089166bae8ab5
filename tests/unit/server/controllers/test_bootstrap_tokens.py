"""Bootstrap tokens: deleted when they are over, and what they sign for nodes that are to come."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from minikube_py.api.core import CONFIGMAPS, SECRETS
from minikube_py.lib import jws
from minikube_py.server.controllers import bootstrap_signer, token_cleaner
from minikube_py.server.controllers.bootstrap_signer import plan, tokens_of
from minikube_py.server.controllers.token_cleaner import seconds_left
from tests.frozen import freeze
from tests.harness import harness
from tests.virtual_time import settle, virtual

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KUBECONFIG = "apiVersion: v1\nkind: Config\n"


def token(name: str = "abcdef", kind: str = token_cleaner.TYPE, **data: str) -> Any:
    named = {"token-id": name, "token-secret": "0123456789abcdef", **data}
    encoded = {
        key.replace("_", "-"): base64.b64encode(value.encode()).decode()
        for key, value in named.items()
    }
    metadata = {"name": f"bootstrap-token-{name}", "namespace": "kube-system"}
    return {"metadata": metadata, "type": kind, "data": encoded}


def info(**data: str) -> Any:
    return {"metadata": {"name": "cluster-info", "namespace": "kube-public"}, "data": data}


@pytest.mark.parametrize(
    ("secret", "left"),
    [
        (token(), None),
        (token(expiration="2026-11-22T13:00:00Z"), 3600.0),
        (token(expiration="2026-11-22T11:00:00Z"), 0.0),
        (token(expiration="soon"), 0.0),
        (token(kind="Opaque", expiration="soon"), None),
    ],
)
def test_how_long_a_token_is_good(secret: Any, left: float | None) -> None:
    assert seconds_left(freeze(secret), NOW) == left


@virtual
async def test_a_token_is_deleted_when_it_is_over() -> None:
    async with harness() as world:
        world.run(token_cleaner.CONTROLLER)
        end = world.clock.now() + timedelta(hours=1)
        await world.client.create(SECRETS, token(expiration=f"{end:%Y-%m-%dT%H:%M:%SZ}"))
        await world.client.create(SECRETS, token("forevr"))
        await world.clock.sleep(3590)
        assert len(world.cluster.objects(SECRETS)) == 2
        await world.clock.sleep(20)
        (left,) = world.cluster.objects(SECRETS)
        assert left["metadata"]["name"] == "bootstrap-token-forevr"


def test_only_tokens_for_signing_sign() -> None:
    signing = {"usage_bootstrap_signing": "true"}
    secrets = [
        token("aaaaaa", **signing),
        token("bbbbbb"),
        token("cccccc", kind="Opaque", **signing),
        {**token("dddddd", **signing), "metadata": {"name": "other", "namespace": "kube-system"}},
    ]
    assert tokens_of(secrets) == {"aaaaaa": "0123456789abcdef"}


def test_signatures_are_json_web_signatures_without_payload() -> None:
    header, payload, mac = jws.detached(KUBECONFIG, "abcdef", "secret").split(".")

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert json.loads(decoded(header)) == {"alg": "HS256", "kid": "abcdef"}
    assert not payload
    whole = f"{header}.{base64.urlsafe_b64encode(KUBECONFIG.encode()).decode().rstrip('=')}"
    assert decoded(mac) == hmac.new(b"secret", whole.encode(), hashlib.sha256).digest()


def test_signatures_follow_the_tokens() -> None:
    stale = {"jws-kubeconfig-gone": "x", "other": "y"}
    (update,) = plan(freeze(info(kubeconfig=KUBECONFIG, **stale)), {"abcdef": "secret"})
    signed = update.obj["data"]
    assert sorted(signed) == ["jws-kubeconfig-abcdef", "kubeconfig", "other"]
    assert not list(plan(freeze(info(**signed)), {"abcdef": "secret"}))
    assert not list(plan(freeze(info(other="y")), {"abcdef": "secret"}))


@virtual
async def test_the_config_map_is_signed_anew_when_tokens_come_and_go() -> None:
    async with harness() as world:
        world.run(bootstrap_signer.CONTROLLER)
        await world.client.create(CONFIGMAPS, info(kubeconfig=KUBECONFIG))
        await world.client.create(SECRETS, token(usage_bootstrap_signing="true"))
        await settle()
        (signed,) = world.cluster.objects(CONFIGMAPS)
        assert signed["data"]["jws-kubeconfig-abcdef"] == jws.detached(
            KUBECONFIG, "abcdef", "0123456789abcdef"
        )
        await world.client.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
        await settle()
        (signed,) = world.cluster.objects(CONFIGMAPS)
        assert signed["data"] == {"kubeconfig": KUBECONFIG}
