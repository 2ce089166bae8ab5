"""Users by tokens of other issuers (OpenID Connect): signed by a key that the issuer publishes.

The issuer is asked for its keys when the first token comes and when one names a key that is not
known, at most every `ASK_SECONDS`. A token that was good is remembered for as long as upstream's
token cache does, so that a client's requests cost no verification each.
"""

import asyncio
import hashlib
import json
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import jwt

from minikube_py.lib.clock import Clock
from minikube_py.server.authn.chain import TokenError, Verified
from minikube_py.server.authn.claims import user_of
from minikube_py.server.authn.configuration import JwtIssuer
from minikube_py.server.authn.signing import issuer_of

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
WELL_KNOWN = "/.well-known/openid-configuration"
ASK_SECONDS = 10.0
"""Between two questions to an issuer."""
REQUEST_SECONDS = 10.0
ANSWER_BYTES_MAX = 1 << 20
LEEWAY_SECONDS = 10.0
UNCHECKED: Any = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""What is checked here, in upstream's words, or not at all."""
REMEMBERED_SECONDS = 10.0
REMEMBERED_MAX = 4096
Fetch = Callable[[str], Awaitable[bytes]]
"""(URL) -> what stands there; raises OSError where it cannot be had."""


class OidcTokens:
    """Knows the tokens of one issuer."""

    def __init__(
        self,
        issuer: JwtIssuer,
        clock: Clock,
        fetch: Fetch | None = None,
        own_audiences: Sequence[str] = (),
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys = _Keys(issuer, clock, fetch or fetcher(issuer.certificate_authority))
        self._own_audiences = tuple(own_audiences)
        """A token for one of the issuer's audiences is for these."""
        self._remembered: OrderedDict[bytes, tuple[float, float, Verified]] = OrderedDict()

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return the user of a token, None where it is of another issuer."""
        if issuer_of(token) != self._issuer.url:
            return None
        if audiences and not set(audiences) & set(self._own_audiences):
            raise TokenError(f"token is not for any of the audiences {list(audiences)}")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and known[0] > self._clock.monotonic() and known[1] > self._time():
            return known[2]
        claims = await self._claims(token)
        verified = Verified(user_of(self._issuer, claims), self._own_audiences)
        until = self._clock.monotonic() + REMEMBERED_SECONDS
        self._remembered[digest] = (until, float(claims["exp"]), verified)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return verified

    def _time(self) -> float:
        return self._clock.now().timestamp()

    async def _claims(self, token: str) -> Mapping[str, Any]:
        """Return what a token says, once its key, audience and times are right."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.find(str(header.get("kid") or ""))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[*ALGORITHMS],
                audience=self._issuer.audiences,
                issuer=self._issuer.url,
                options=UNCHECKED,
            )
        except (jwt.PyJWTError, TypeError, ValueError) as error:  # a key of another algorithm
            raise TokenError(f"oidc: verify token: {error}") from error
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now, end, start = self._time(), claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(end, int | float) or not isinstance(start, int | float):
            raise TokenError("oidc: verify token: oidc: token has no valid times")
        if end < now:
            raise TokenError("oidc: verify token: oidc: token is expired")
        if start > now + LEEWAY_SECONDS:
            raise TokenError("oidc: verify token: oidc: current time is before the nbf time")


class _Keys:
    """The public keys of an issuer."""

    def __init__(self, issuer: JwtIssuer, clock: Clock, fetch: Fetch) -> None:
        self._issuer = issuer
        self._clock = clock
        self._fetch = fetch
        self._keys: dict[str, Any] = {}
        self._asked = -ASK_SECONDS
        self._asking = asyncio.Lock()

    async def find(self, key_id: str) -> Any:
        """Return the key of that id, the only one where the token names none."""
        found = self._known(key_id)
        if found is None:
            async with self._asking:
                if self._known(key_id) is None:
                    await self._ask()
            found = self._known(key_id)
        if found is None:
            raise TokenError(f'oidc: no key "{key_id}" of issuer {self._issuer.url}')
        return found

    def _known(self, key_id: str) -> Any:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _ask(self) -> None:
        """Fetch the keys, unless that was tried just now."""
        now = self._clock.monotonic()
        if now - self._asked < ASK_SECONDS:
            return
        self._asked = now
        url = self._issuer.discovery_url or self._issuer.url.rstrip("/") + WELL_KNOWN
        try:
            document = json.loads(await self._fetch(url))
            if document["issuer"] != self._issuer.url:
                raise TokenError(
                    f"oidc: issuer did not match the issuer returned by provider, expected "
                    f'"{self._issuer.url}" got "{document["issuer"]}"'
                )
            keys = json.loads(await self._fetch(str(document["jwks_uri"])))["keys"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenError(
                f'oidc: authenticator for issuer "{self._issuer.url}" is not initialized: {error}'
            ) from error
        self._keys = {str(key.get("kid") or ""): jwt.PyJWK(dict(key)).key for key in _usable(keys)}


def _usable(keys: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the keys that sign and that can be read; others are no reason to refuse all."""
    found = []
    for key in keys:
        try:
            jwt.PyJWK(dict(key))
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if key.get("use", "sig") == "sig":
            found.append(key)
    return found


def fetcher(certificate_authority: str) -> Fetch:
    """Return how to fetch over HTTPS, trusting these authorities (PEM) or the system's."""
    context = ssl.create_default_context(cadata=certificate_authority or None)

    async def fetch(url: str) -> bytes:
        import aiohttp  # noqa: PLC0415 -- few clusters ask an issuer

        if not url.startswith("https://"):
            raise OSError(f"{url} is no https URL")
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, ssl=context, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise OSError(f"{url} answered {response.status}")
                data = await response.content.read(ANSWER_BYTES_MAX + 1)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{url}: {error or 'no answer in time'}") from error
        if len(data) > ANSWER_BYTES_MAX:
            raise OSError(f"{url} answered more than {ANSWER_BYTES_MAX} bytes")
        return data

    return fetch
