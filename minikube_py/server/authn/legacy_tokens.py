"""Service-account tokens that live in Secrets: without an end, good while the Secret holds them.

They are of another issuer and in another form than tokens on request. Each use notes its day on
the Secret, so that an administrator finds those that nobody needs any more. The rules and texts
are those of upstream's `pkg/serviceaccount/legacy.go`.
"""

import base64
import binascii
import hashlib
import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from minikube_py.api.core import SECRETS
from minikube_py.api.core.secret import INVALID_SINCE, LAST_USED
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Key, Obj, get, is_deleting, labels_of, uid_of
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.server.attributes import User
from minikube_py.server.authn.chain import TokenError, Verified
from minikube_py.server.authn.service_account import PREFIX, Bound, groups_of
from minikube_py.server.authn.signing import Claims, TokenSigner, issuer_of

log = logging.getLogger(__name__)
ISSUER: Final = "kubernetes/serviceaccount"
CLAIM: Final = "kubernetes.io/serviceaccount/"
INVALIDATED: Final = "Token has been invalidated"
CACHE_MAX: Final = 1024
"""Tokens whose signature is remembered."""


def claims_of(secret: Obj, account: Obj) -> dict[str, str]:
    """Return what the token of a Secret says."""
    namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
    return {
        "iss": ISSUER,
        f"{CLAIM}namespace": namespace,
        f"{CLAIM}secret.name": secret["metadata"]["name"],
        f"{CLAIM}service-account.name": name,
        f"{CLAIM}service-account.uid": uid_of(account),
        "sub": f"{PREFIX}{namespace}:{name}",
    }


class Named(NamedTuple):
    """The claims of a token, read and found to fit each other."""

    namespace: str
    secret: str
    account: str
    uid: str

    @property
    def user(self) -> User:
        """The user that the token makes of a request."""
        name = f"{PREFIX}{self.namespace}:{self.account}"
        return User(name, groups_of(self.namespace), self.uid)


class LegacyTokens:
    """Knows the tokens that Secrets hold; `client` notes when they were used."""

    def __init__(
        self,
        signer: TokenSigner,
        audiences: Sequence[str],
        bound: Bound,
        client: Callable[[], Client],
        clock: Clock,
    ) -> None:
        self._signer = signer
        self._audiences = tuple(audiences)
        self._bound = bound
        self._client = client
        self._clock = clock
        self._cache: OrderedDict[bytes, Named] = OrderedDict()
        """By digest: what a token says."""

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return the account that the token is of; None for tokens of other issuers."""
        named = self._named(token)
        if named is None:
            return None
        matching = self._matching(audiences)
        await self._note_use(self._check(named, token))
        return Verified(named.user, matching)

    def _named(self, token: str) -> Named | None:
        """Return whom a token names; None for tokens of other issuers."""
        digest = hashlib.sha256(token.encode()).digest()
        if (known := self._cache.get(digest)) is not None:
            self._cache.move_to_end(digest)
            return known
        if issuer_of(token) != ISSUER:
            return None
        try:
            claims = self._signer.read(token)
        except ValueError as error:
            raise TokenError(f"failed to verify the signature: {error}") from error
        named = self._cache[digest] = named_in(claims)
        if len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)
        return named

    def _matching(self, audiences: Sequence[str]) -> tuple[str, ...]:
        """Return the wanted audiences that are ours: such a token names none."""
        matching = tuple(name for name in audiences if name in self._audiences)
        if not matching:
            held, wanted = (
                " ".join(f'"{name}"' for name in names) for names in (self._audiences, audiences)
            )
            raise TokenError(
                f"token audiences [{held}] is invalid for the target audiences [{wanted}]"
            )
        return matching

    def _check(self, named: Named, token: str) -> Obj:
        """Return the Secret, which must still hold the token, for an account that still lives."""
        secret = self._bound.secrets.get(Key(named.namespace, named.secret))
        if secret is None or is_deleting(secret):
            raise TokenError(INVALIDATED)
        if not hmac.compare_digest(_held(secret), token.encode()):
            raise TokenError("Token does not match server's copy")
        account = self._bound.service_accounts.get(Key(named.namespace, named.account))
        who = f"{named.namespace}/{named.account}"
        if account is None:
            raise TokenError(f'serviceaccounts "{named.account}" not found')
        if is_deleting(account):
            raise TokenError(f"ServiceAccount {who} has been deleted")
        if uid_of(account) != named.uid:
            raise TokenError(
                f"ServiceAccount UID ({uid_of(account)}) does not match claim ({named.uid})"
            )
        if labels_of(secret).get(INVALID_SINCE):
            raise TokenError(
                f"the token in secret {named.namespace}/{named.secret} for service account {who} "
                "has been marked invalid. Use tokens from the TokenRequest API or manually created "
                f"secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to "
                "temporarily allow use of this token"
            )
        return secret

    async def _note_use(self, secret: Obj) -> None:
        """Write the day onto the Secret, once a day; a failure of that refuses nobody."""
        now = self._clock.now()
        # Tomorrow counts too: another server's clock may be ahead.
        days = [_day(now), _day(now + timedelta(days=1))]
        if labels_of(secret).get(LAST_USED) in days:
            return
        metadata = secret["metadata"]
        patch = {"metadata": {"uid": uid_of(secret), "labels": {LAST_USED: days[0]}}}
        try:
            await self._client().patch(SECRETS, metadata["name"], patch, metadata["namespace"])
        except StatusError as error:
            where = f"{metadata['namespace']}/{metadata['name']}"
            log.warning("cannot note the use of a token secret=%s error=%s", where, error)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _held(secret: Obj) -> bytes:
    try:
        return base64.b64decode(get(secret, ("data", "token"), ""), validate=True)
    except binascii.Error:
        return b""


def named_in(claims: Claims) -> Named:
    """Return whom claims name.

    Raises:
        TokenError: one is missing, or they are at odds.

    """
    subject = _text(claims, "sub")
    if not subject:
        raise TokenError("sub claim is missing")
    parts = []
    for claim, called in (
        ("namespace", "namespace"),
        ("secret.name", "secretName"),
        ("service-account.name", "serviceAccountName"),
        ("service-account.uid", "serviceAccountUID"),
    ):
        value = _text(claims, f"{CLAIM}{claim}")
        if not value:
            raise TokenError(f"{called} claim is missing")
        parts.append(value)
    named = Named(*parts)
    if subject != named.user.name:
        raise TokenError("sub claim is invalid")
    return named


def _text(claims: Claims, name: str) -> str:
    value: Any = claims.get(name)
    return value if isinstance(value, str) else ""
