"""Tokens in Secrets: good for as long as Secret and account stand, and their use is noted."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from minikube_py.api.core.secret import INVALID_SINCE, LAST_USED
from minikube_py.api.errors import ForbiddenError
from minikube_py.server.authn.chain import TokenError
from minikube_py.server.authn.legacy_tokens import (
    LegacyTokens,
    claims_of,
    named_in,
)
from minikube_py.server.authn.service_account import Bound
from minikube_py.server.authn.signing import TokenSigner

AUDIENCE = "https://kubernetes.default.svc.cluster.local"
SIGNER = TokenSigner(rsa.generate_private_key(public_exponent=65537, key_size=2048))
ACCOUNT = {"metadata": {"namespace": "a", "name": "bot", "uid": "u1"}}
EMPTY = {"metadata": {"namespace": "a", "name": "bot-token", "uid": "u2"}}
CLAIMS = claims_of(EMPTY, ACCOUNT)
TOKEN = SIGNER.sign(CLAIMS)


def secret(token: str = TOKEN, **metadata: Any) -> dict[str, Any]:
    data = {"token": base64.b64encode(token.encode()).decode()}
    return {"metadata": {**EMPTY["metadata"], **metadata}, "data": data}


class Noting:
    """A client that takes patches down."""

    def __init__(self) -> None:
        self.patches: list[Any] = []
        self.refuse = False

    async def patch(self, _resource: Any, name: str, patch: Any, namespace: str) -> None:
        if self.refuse:
            raise ForbiddenError("no")
        self.patches.append((namespace, name, patch["metadata"]["labels"]))


@pytest.fixture
def noting() -> Noting:
    return Noting()


@pytest.fixture
def tokens(listing: Callable[..., Any], clock: Any, noting: Noting) -> Callable[..., LegacyTokens]:
    def make(*secrets: Any, accounts: Any = (ACCOUNT,)) -> LegacyTokens:
        bound = Bound(
            service_accounts=listing(*accounts),
            pods=listing(),
            secrets=listing(*secrets),
            nodes=listing(),
        )
        client: Any = noting
        return LegacyTokens(SIGNER, (AUDIENCE,), bound, lambda: client, clock)

    return make


async def refusal(tokens: LegacyTokens, token: str = TOKEN) -> str:
    with pytest.raises(TokenError) as refused:
        await tokens.verify(token, (AUDIENCE,))
    return str(refused.value)


async def test_the_account_is_the_user(tokens: Any) -> None:
    verified = await tokens(secret()).verify(TOKEN, (AUDIENCE, "other"))
    assert verified.user.name == "system:serviceaccount:a:bot"
    assert verified.user.groups == ("system:serviceaccounts", "system:serviceaccounts:a")
    assert verified.user.uid == "u1"
    assert verified.user.extra == {}
    assert verified.audiences == (AUDIENCE,)


def test_claims_are_upstreams() -> None:
    assert CLAIMS == {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:a:bot",
        "kubernetes.io/serviceaccount/namespace": "a",
        "kubernetes.io/serviceaccount/secret.name": "bot-token",
        "kubernetes.io/serviceaccount/service-account.name": "bot",
        "kubernetes.io/serviceaccount/service-account.uid": "u1",
    }


async def test_tokens_of_others_are_left_to_others(tokens: Any) -> None:
    assert await tokens().verify(SIGNER.sign({"iss": AUDIENCE}), (AUDIENCE,)) is None
    assert await tokens().verify("abcdef.0123456789abcdef", (AUDIENCE,)) is None


async def test_another_key_has_signed(tokens: Any) -> None:
    other = TokenSigner(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert "failed to verify the signature" in await refusal(tokens(secret()), other.sign(CLAIMS))


async def test_an_audience_must_be_ours(tokens: Any) -> None:
    with pytest.raises(TokenError, match="is invalid for the target audiences"):
        await tokens(secret()).verify(TOKEN, ("other",))


async def test_the_secret_must_hold_the_token(tokens: Any) -> None:
    gone = "Token has been invalidated"
    assert await refusal(tokens()) == gone
    assert await refusal(tokens(secret(deletionTimestamp="2026-01-01T00:00:00Z"))) == gone
    assert await refusal(tokens(secret("x"))) == "Token does not match server's copy"
    assert await refusal(tokens(EMPTY)) == "Token does not match server's copy"


async def test_the_account_must_live(tokens: Any) -> None:
    def of(**metadata: Any) -> Any:
        return tokens(secret(), accounts=({"metadata": {**ACCOUNT["metadata"], **metadata}},))

    assert await refusal(tokens(secret(), accounts=())) == 'serviceaccounts "bot" not found'
    assert (
        await refusal(of(deletionTimestamp="2026-01-01T00:00:00Z"))
        == "ServiceAccount a/bot has been deleted"
    )
    assert await refusal(of(uid="u9")) == "ServiceAccount UID (u9) does not match claim (u1)"


async def test_a_token_marked_invalid_is_refused(tokens: Any) -> None:
    marked = secret(labels={INVALID_SINCE: "2026-01-01"})
    assert (await refusal(tokens(marked))).startswith(
        "the token in secret a/bot-token for service account a/bot has been marked invalid."
    )


async def test_the_first_use_of_a_day_is_noted(tokens: Any, clock: Any, noting: Noting) -> None:
    today = f"{clock.now():%Y-%m-%d}"
    await tokens(secret()).verify(TOKEN, (AUDIENCE,))
    assert noting.patches == [("a", "bot-token", {LAST_USED: today})]
    noting.patches.clear()
    await tokens(secret(labels={LAST_USED: today})).verify(TOKEN, (AUDIENCE,))
    assert not noting.patches
    await tokens(secret(labels={LAST_USED: "2020-01-01"})).verify(TOKEN, (AUDIENCE,))
    assert noting.patches


async def test_a_note_that_fails_refuses_nobody(tokens: Any, noting: Noting) -> None:
    noting.refuse = True
    assert await tokens(secret()).verify(TOKEN, (AUDIENCE,)) is not None


async def test_a_token_that_was_good_is_asked_for_again(tokens: Any) -> None:
    account = {"metadata": dict(ACCOUNT["metadata"])}
    known = tokens(secret(), accounts=(account,))
    assert await known.verify(TOKEN, (AUDIENCE,))
    known._bound.service_accounts.remove("a", "bot")
    assert await refusal(known) == 'serviceaccounts "bot" not found'


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"sub": ""}, "sub claim is missing"),
        ({"sub": "system:serviceaccount:a:other"}, "sub claim is invalid"),
        ({"kubernetes.io/serviceaccount/namespace": 7}, "namespace claim is missing"),
        ({"kubernetes.io/serviceaccount/secret.name": ""}, "secretName claim is missing"),
        (
            {"kubernetes.io/serviceaccount/service-account.name": ""},
            "serviceAccountName claim is missing",
        ),
        (
            {"kubernetes.io/serviceaccount/service-account.uid": ""},
            "serviceAccountUID claim is missing",
        ),
    ],
)
def test_claims_must_fit(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(TokenError, match=f"^{problem}$"):
        named_in({**CLAIMS, **changed})
