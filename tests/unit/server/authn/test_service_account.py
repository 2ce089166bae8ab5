"""Service-account tokens: who they make of a request, and when they stop to be good."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from minikube_py.api.errors import BadRequestError, StatusError, UnauthorizedError
from minikube_py.lib import pki
from minikube_py.server.attributes import ANONYMOUS, Credentials
from minikube_py.server.authn.anonymous import Anonymous
from minikube_py.server.authn.chain import BearerTokens, Chain
from minikube_py.server.authn.service_account import Bound, ServiceAccountTokens
from minikube_py.server.authn.signing import TokenSigner
from minikube_py.server.authn.tokens import TokenIssuer, openid_configuration, review

ISSUER = "https://kubernetes.default.svc.cluster.local"
SIGNER = TokenSigner(rsa.generate_private_key(public_exponent=65537, key_size=2048))
ACCOUNT = {"metadata": {"namespace": "a", "name": "bot", "uid": "u1"}}
POD = {
    "metadata": {"namespace": "a", "name": "p", "uid": "u2"},
    "spec": {"serviceAccountName": "bot", "nodeName": "n"},
}
NODE = {"metadata": {"name": "n", "uid": "u3"}}
TO_POD = {"kind": "Pod", "apiVersion": "v1", "name": "p"}


@pytest.fixture
def bound(listing: Callable[..., Any]) -> Bound:
    return Bound(
        service_accounts=listing(ACCOUNT), pods=listing(POD), secrets=listing(), nodes=listing(NODE)
    )


@pytest.fixture
def issuer(bound: Bound, clock: Any) -> TokenIssuer:
    return TokenIssuer(SIGNER, ISSUER, bound, clock)


@pytest.fixture
def bearer(bound: Bound, clock: Any) -> BearerTokens:
    return BearerTokens((ServiceAccountTokens(SIGNER, ISSUER, bound, clock),), (ISSUER,))


def issued(issuer: TokenIssuer, **spec: Any) -> str:
    token: str = issuer.request(ACCOUNT, spec)["status"]["token"]
    return token


async def error_of(bearer: BearerTokens, token: str) -> str:
    return str((await review(bearer, {"token": token})).get("error", ""))


async def test_a_token_makes_its_account_the_user(issuer: TokenIssuer, bearer: Any) -> None:
    token = issued(issuer, boundObjectRef=TO_POD)
    user = await Chain((bearer,)).authenticate(Credentials(f"Bearer {token}"))
    assert user.name == "system:serviceaccount:a:bot"
    assert user.uid == "u1"
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:a",
        "system:authenticated",
    )
    prefix = "authentication.kubernetes.io/"
    assert user.extra[f"{prefix}pod-name"] == ("p",)
    assert user.extra[f"{prefix}node-uid"] == ("u3",)
    assert user.extra[f"{prefix}credential-id"][0].startswith("JTI=")


def test_claims_are_upstreams(issuer: TokenIssuer) -> None:
    answer = issuer.request(ACCOUNT, {"boundObjectRef": TO_POD, "expirationSeconds": 3607})
    claims = SIGNER.read(answer["status"]["token"])
    start = claims["iat"]
    assert claims["nbf"] == start
    assert claims["exp"] == start + 365 * 86400
    assert claims["aud"] == [ISSUER]
    assert claims["sub"] == "system:serviceaccount:a:bot"
    assert claims["kubernetes.io"] == {
        "namespace": "a",
        "node": {"name": "n", "uid": "u3"},
        "pod": {"name": "p", "uid": "u2"},
        "serviceaccount": {"name": "bot", "uid": "u1"},
        "warnafter": start + 3607,
    }
    assert answer["status"]["expirationTimestamp"] == "2026-11-22T13:00:07Z"


async def test_a_token_ends_with_its_time(issuer: Any, bearer: Any, clock: Any) -> None:
    token = issued(issuer, expirationSeconds=600)
    assert await error_of(bearer, token) == ""
    clock.seconds = 601
    assert "service account token has expired" in await error_of(bearer, token)


async def test_a_token_ends_with_its_account(
    issuer: Any, bearer: Any, bound: Any, clock: Any
) -> None:
    token = issued(issuer)
    assert await error_of(bearer, token) == ""
    bound.service_accounts.remove("a", "bot")
    clock.seconds += 11
    assert await error_of(bearer, token) == (
        '[invalid bearer token, serviceaccounts "bot" not found]'
    )


async def test_a_token_ends_with_its_pod_and_is_not_good_for_the_next(
    issuer: Any, bearer: Any, bound: Any, clock: Any
) -> None:
    token = issued(issuer, boundObjectRef=TO_POD)
    bound.pods.put({**POD, "metadata": {**POD["metadata"], "uid": "other"}})
    assert "service account token has been invalidated" in await error_of(bearer, token)
    bound.pods.remove("a", "p")
    clock.seconds += 11
    assert "service account token has been invalidated" in await error_of(bearer, token)


async def test_a_pod_that_is_being_deleted_keeps_its_token_for_a_minute(
    issuer: Any, bearer: Any, bound: Any, clock: Any
) -> None:
    token = issued(issuer, boundObjectRef=TO_POD)
    deleted = {**POD["metadata"], "deletionTimestamp": "2026-11-22T12:00:00Z"}
    bound.pods.put({**POD, "metadata": deleted})
    clock.seconds = 59
    assert await error_of(bearer, token) == ""
    clock.seconds = 71
    assert "invalidated" in await error_of(bearer, token)


async def test_a_token_for_others_is_refused(issuer: Any, bearer: Any) -> None:
    token = issued(issuer, audiences=["x"])
    assert "is invalid for the target audiences" in await error_of(bearer, token)
    status = await review(bearer, {"token": token, "audiences": ["x", "y"]})
    assert status["audiences"] == ["x"]


async def test_a_token_of_another_key_is_refused(bound: Bound, clock: Any, bearer: Any) -> None:
    other = TokenIssuer(TokenSigner(pki.new_key()), ISSUER, bound, clock)
    with pytest.raises(UnauthorizedError, match="Unauthorized"):
        await Chain((bearer,)).authenticate(Credentials(f"Bearer {issued(other)}"))


async def test_a_bad_token_is_never_anonymous(bearer: Any) -> None:
    chain = Chain((bearer, Anonymous()))
    assert await chain.authenticate(Credentials()) == ANONYMOUS
    with pytest.raises(UnauthorizedError):
        await chain.authenticate(Credentials("Bearer garbage"))
    assert await error_of(bearer, "garbage") == "invalid bearer token"


async def test_a_review_without_a_token_is_a_bad_request(bearer: Any) -> None:
    with pytest.raises(BadRequestError, match="token is required for TokenReview"):
        await review(bearer, {})


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"expirationSeconds": 10}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**33}, 422, "larger than 2^32 seconds"),
        ({"boundObjectRef": {**TO_POD, "name": "z"}}, 404, 'pods "z" not found'),
        ({"boundObjectRef": {**TO_POD, "uid": "no"}}, 409, "does not match the UID in record"),
        (
            {"boundObjectRef": {**TO_POD, "kind": "ConfigMap"}},
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
    ],
)
def test_a_wrong_request_has_upstreams_words(
    issuer: TokenIssuer, spec: dict[str, Any], code: int, message: str
) -> None:
    with pytest.raises(StatusError, match=re.escape(message)) as caught:
        issuer.request(ACCOUNT, spec)
    assert caught.value.code == code


def test_openid_clients_find_the_key() -> None:
    document = openid_configuration(SIGNER, ISSUER, "https://x/openid/v1/jwks")
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    (key,) = SIGNER.jwks()["keys"]
    assert key["kid"] == SIGNER.key_id
    assert key["alg"] == "RS256"
    assert set(key) == {"alg", "e", "kid", "kty", "n", "use"}
