"""Tokens of other issuers: who they make, and what is turned away with which words."""

import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from minikube_py.lib.clock import SystemClock
from minikube_py.server.authn import configuration
from minikube_py.server.authn.chain import TokenError
from minikube_py.server.authn.oidc import OidcTokens

URL, OWN = "https://issuer.example.com", "https://kubernetes.default.svc"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ec.generate_private_key(ec.SECP256R1())
MAPPINGS: dict[str, Any] = {
    "username": {"claim": "sub", "prefix": "oidc:"},
    "groups": {"claim": "groups", "prefix": ""},
}


def document(**jwt_fields: Any) -> bytes:
    issuer = {"url": URL, "audiences": ["kpy"], **jwt_fields.pop("issuer", {})}
    given = {"issuer": issuer, "claimMappings": MAPPINGS, **jwt_fields}
    return yaml.safe_dump(
        {"apiVersion": configuration.API_VERSIONS[0], "kind": configuration.KIND, "jwt": [given]}
    ).encode()


class Provider:
    """Publishes keys and counts who asks."""

    def __init__(self) -> None:
        self.issuer = URL
        self.keys: dict[str, Any] = {"one": json.loads(RSAAlgorithm.to_jwk(KEY.public_key()))}
        self.asked: list[str] = []
        self.is_up = True

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if not self.is_up:
            raise OSError("connection refused")
        if url.endswith("/.well-known/openid-configuration"):
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{URL}/keys"}).encode()
        return json.dumps(
            {"keys": [{**key, "kid": kid} for kid, key in self.keys.items()]}
        ).encode()


class Time(SystemClock):
    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed


def method(provider: Provider, clock: Time | None = None, **fields: Any) -> OidcTokens:
    (issuer,) = configuration.read(document(**fields)).issuers
    return OidcTokens(issuer, clock or Time(), provider.fetch, own_audiences=(OWN,))


def token(key: Any = KEY, kid: str = "one", **claims: Any) -> str:
    said = {
        "iss": URL,
        "aud": "kpy",
        "sub": "jane",
        "exp": int(time.time()) + 86400,
        "groups": ["a", "b"],
        **claims,
    }
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return jwt.encode(said, key, algorithm, headers={"kid": kid})


async def refused(provider: Provider, said: str, **fields: Any) -> str:
    with pytest.raises(TokenError) as caught:
        await method(provider, **fields).verify(said, (OWN,))
    return str(caught.value)


async def test_a_good_token_makes_a_user_and_is_verified_once() -> None:
    provider = Provider()
    tokens = method(provider)
    said = token()
    for _ in range(5):
        verified = await tokens.verify(said, (OWN,))
        assert verified is not None
        assert (verified.user.name, verified.user.groups) == ("oidc:jane", ("a", "b"))
        assert verified.audiences == (OWN,)
    assert len(provider.asked) == 2


async def test_a_token_of_somebody_else_is_left_to_others() -> None:
    assert await method(Provider()).verify(token(iss="https://else.example.com"), (OWN,)) is None
    assert await method(Provider()).verify("no token", (OWN,)) is None


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (token(aud="other"), "oidc: verify token: Audience doesn't match"),
        (token(exp=int(time.time()) - 60), "oidc: token is expired"),
        (token(nbf=int(time.time()) + 86400), "current time is before the nbf time"),
        (token(exp="soon"), "token has no valid times"),
        (token(sub=""), "the username of the token is empty"),
        (token(sub=None), "it is no string"),
        (token(groups={"a": 1}), "oidc: groups of the token are no list of strings"),
        (token(key=OTHER), "oidc: verify token:"),
        (token(kid="nobody"), 'oidc: no key "nobody" of issuer'),
        (token()[:-4] + "AAAA", "Signature verification failed"),
    ],
)
async def test_what_is_wrong_is_named(said: str, text: str) -> None:
    assert text in await refused(Provider(), said)


async def test_a_token_without_a_signature_is_refused() -> None:
    said = jwt.encode({"iss": URL, "aud": "kpy", "sub": "jane"}, None, "none", {"kid": "one"})  # type: ignore[arg-type]
    assert "verify token" in await refused(Provider(), said)


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    claims = {"iss": URL, "aud": "kpy", "sub": "jane", "exp": int(time.time()) + 86400}
    said = jwt.encode(claims, "x" * 32, "HS256", {"kid": "one"})
    assert "alg value is not allowed" in await refused(Provider(), said)


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    provider, clock = Provider(), Time()
    tokens = method(provider, clock)
    await tokens.verify(token(), (OWN,))
    provider.keys["two"] = json.loads(ECAlgorithm.to_jwk(OTHER.public_key()))
    clock.passed += 11
    assert await tokens.verify(token(key=OTHER, kid="two"), (OWN,)) is not None


async def test_tokens_with_unknown_keys_do_not_make_the_issuer_be_asked_each_time() -> None:
    provider = Provider()
    tokens = method(provider)
    for number in range(20):
        with pytest.raises(TokenError):
            await tokens.verify(token(kid=f"no-{number}"), (OWN,))
    assert len(provider.asked) == 2


async def test_an_issuer_that_is_away_is_asked_again_later() -> None:
    provider, clock = Provider(), Time()
    provider.is_up = False
    tokens = method(provider, clock)
    with pytest.raises(TokenError, match=r"is not initialized: connection refused"):
        await tokens.verify(token(), (OWN,))
    provider.is_up = True
    clock.passed += 11
    assert await tokens.verify(token(), (OWN,)) is not None


async def test_an_issuer_that_says_it_is_another_is_refused() -> None:
    provider = Provider()
    provider.issuer = "https://evil.example.com"
    assert "issuer did not match the issuer returned by provider" in await refused(
        provider, token()
    )


EXPRESSIONS: Mapping[str, Any] = {
    "claimMappings": {
        "username": {"expression": "'x:' + claims.sub"},
        "groups": {"expression": "claims.roles.split(',')"},
        "uid": {"expression": "claims.oid"},
        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
    },
    "claimValidationRules": [
        {"expression": "claims.level > 2", "message": "the level is too low"},
        {"claim": "tenant", "requiredValue": "blue"},
    ],
    "userValidationRules": [
        {"expression": "!user.username.startsWith('x:system:')", "message": "reserved"}
    ],
}


async def test_expressions_make_the_user() -> None:
    said = token(roles="a,b", oid="77", tenant="blue", level=3)
    verified = await method(Provider(), **EXPRESSIONS).verify(said, (OWN,))
    assert verified is not None
    user = verified.user
    assert (user.name, user.groups, user.uid) == ("x:jane", ("a", "b"), "77")
    assert user.extra == {"example.com/tenant": ("blue",)}


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"level": 1}, "the level is too low"),
        ({"tenant": "red"}, "required claim tenant value does not match. Got = red, want = blue"),
        ({"sub": "system:admin"}, "oidc: error evaluating user info validation rule: reserved"),
        ({"roles": None}, "error evaluating expression"),
    ],
)
async def test_rules_turn_away(claims: dict[str, Any], text: str) -> None:
    said = token(**{"roles": "a", "oid": "77", "tenant": "blue", "level": 3, **claims})
    assert text in await refused(Provider(), said, **EXPRESSIONS)


async def test_a_mail_address_that_is_not_verified_is_no_name() -> None:
    mappings = {"username": {"claim": "email", "prefix": ""}}
    said = token(email="jane@example.com", email_verified=False)
    assert "email not verified" in await refused(Provider(), said, claimMappings=mappings)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"issuer": {"url": "http://x"}}, 'Invalid value: "http://x": URL scheme must be https'),
        ({"issuer": {"url": ""}}, "jwt[0].issuer.url: Required value: URL is required"),
        ({"issuer": {"url": OWN}}, "URL must not overlap with disallowed issuers"),
        ({"issuer": {"audiences": []}}, "at least one jwt[0].issuer.audiences is required"),
        ({"issuer": {"audiences": ["a", "b"]}}, "audienceMatchPolicy must be MatchAny for"),
        ({"issuer": {"certificateAuthority": "junk"}}, "does not contain any valid RSA or ECDSA"),
        ({"claimMappings": {}}, "claimMappings.username: Required value: claim or expression"),
        ({"claimMappings": {"username": {"claim": "sub"}}}, "prefix is required when claim is set"),
        ({"claimMappings": {"username": {"expression": "claims."}}}, "compilation failed"),
        ({"claimValidationRules": [{}]}, "claimValidationRules[0]: Required value: claim or"),
        ({"userValidationRules": [{}]}, "expression is required"),
        ({"claimMappings": {**MAPPINGS, "extra": [{"key": "k8s.io/x", "valueExpression": "'a'"}]}},
         "reserved for Kubernetes use"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="jwt") as caught:
        configuration.read(document(**fields), own_issuers=(OWN,))
    assert text in str(caught.value)


def test_who_may_come_without_a_token_is_said_there() -> None:
    text = (
        f"apiVersion: {configuration.API_VERSIONS[0]}\nkind: {configuration.KIND}\n"
        "anonymous: {enabled: true, conditions: [{path: /livez}]}\n"
    )
    found = configuration.read(text.encode())
    assert (found.anonymous, found.anonymous_paths) == (True, ("/livez",))
