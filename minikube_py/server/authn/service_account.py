"""Users by service-account token: signed by this server, bound to objects that must still live.

A signature is checked once per token; whether the account and what the token is bound to still
exist is asked of the caches again after `RECHECK_SECONDS`, as upstream's token cache does.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from minikube_py.api import times
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.protocol import Lister
from minikube_py.lib.clock import Clock
from minikube_py.server.attributes import User
from minikube_py.server.authn.chain import TokenError, Verified
from minikube_py.server.authn.signing import Claims, TokenSigner, issuer_of
from minikube_py.server.authn.trust import CREDENTIAL_ID

PREFIX = "system:serviceaccount:"
ALL_GROUP = "system:serviceaccounts"
EXTRA = "authentication.kubernetes.io/"
NODE_NAME = f"{EXTRA}node-name"
CACHE_MAX = 4096
"""Tokens whose signature is remembered; about one per running pod."""
RECHECK_SECONDS = 10.0
"""How long an answer holds before the caches are asked again; upstream's token cache's life."""
DELETION_LEEWAY = timedelta(seconds=60)
"""A token stays good that long after its object began to be deleted (upstream's leeway)."""
INVALIDATED = "service account token has been invalidated"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The caches of what a token may be bound to."""

    service_accounts: Lister
    pods: Lister
    secrets: Lister
    nodes: Lister


class _Entry:
    __slots__ = ("checked_until", "claims", "user")

    def __init__(self, claims: Claims, user: User) -> None:
        self.claims = claims
        self.user = user
        self.checked_until = 0.0


class ServiceAccountTokens:
    """Knows the tokens of one issuer."""

    def __init__(self, signer: TokenSigner, issuer: str, bound: Bound, clock: Clock) -> None:
        self._signer = signer
        self._issuer = issuer
        self._bound = bound
        self._clock = clock
        self._cache: OrderedDict[bytes, _Entry] = OrderedDict()

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return the account that the token is of."""
        entry = self._entry(token)
        if entry is None:
            return None
        now = self._clock.now()
        check_times(entry.claims, now)
        if self._clock.monotonic() >= entry.checked_until:
            check_bound(entry.claims, self._bound, now)
            entry.checked_until = self._clock.monotonic() + RECHECK_SECONDS
        return Verified(entry.user, _matching(entry.claims, audiences))

    def _entry(self, token: str) -> _Entry | None:
        digest = hashlib.sha256(token.encode()).digest()
        entry = self._cache.get(digest)
        if entry is not None:
            self._cache.move_to_end(digest)
            return entry
        if issuer_of(token) != self._issuer:
            return None
        try:
            claims = self._signer.read(token)
        except ValueError as error:
            raise TokenError(f"failed to verify the signature: {error}") from error
        entry = _Entry(claims, user_of(claims))
        self._cache[digest] = entry
        if len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)
        return entry


def _matching(claims: Claims, audiences: Sequence[str]) -> tuple[str, ...]:
    held = claims.get("aud") or ()
    matching = tuple(name for name in audiences if name in held)
    if not matching:
        raise TokenError(
            f"token audiences {_quoted(held)} is invalid for the target audiences "
            f"{_quoted(audiences)}"
        )
    return matching


def _quoted(names: Sequence[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def user_of(claims: Claims) -> User:
    """Return the user of a token's claims.

    Raises:
        TokenError: they are not those of a bound token.

    """
    private = _private(claims)
    namespace, account = private.get("namespace"), private.get("serviceaccount") or {}
    subject = str(claims.get("sub", ""))
    if not namespace or subject != f"{PREFIX}{namespace}:{account.get('name')}":
        raise TokenError("could not parse JWT subject")
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
    for kind in ("node", "pod"):
        for what in ("name", "uid"):
            if value := (private.get(kind) or {}).get(what):
                extra[f"{EXTRA}{kind}-{what}"] = (str(value),)
    return User(
        name=subject,
        groups=groups_of(str(namespace)),
        uid=str(account.get("uid", "")),
        extra=extra,
    )


def groups_of(namespace: str) -> tuple[str, ...]:
    """Return the groups that the accounts of a namespace are in."""
    return (ALL_GROUP, f"{ALL_GROUP}:{namespace}")


def _private(claims: Claims) -> Mapping[str, Any]:
    private = claims.get("kubernetes.io")
    return private if isinstance(private, Mapping) else {}


def check_times(claims: Claims, now: datetime) -> None:
    """Make sure that a token is of now.

    Raises:
        TokenError: it is over, or has not begun.

    """
    seconds = now.timestamp()
    if seconds > float(claims.get("exp", 0)):
        raise TokenError("service account token has expired")
    if seconds < float(claims.get("nbf", 0)):
        raise TokenError("service account token is not valid yet")


def check_bound(claims: Claims, bound: Bound, now: datetime) -> None:
    """Make sure that the account lives, and the object that the token is bound to.

    Raises:
        TokenError: one does not, or is another of the same name.

    """
    private = _private(claims)
    namespace = str(private.get("namespace", ""))
    account = private.get("serviceaccount") or {}
    found = bound.service_accounts.get(Key(namespace, account.get("name", "")))
    if found is None:
        raise TokenError(f'serviceaccounts "{account.get("name")}" not found')
    if _is_gone(found, now):
        raise TokenError(f"service account {namespace}/{account.get('name')} has been deleted")
    uid = get(found, "metadata.uid", "")
    if uid != account.get("uid"):
        raise TokenError(f"service account UID ({uid}) does not match claim ({account.get('uid')})")
    for kind, lister, where in (
        ("secret", bound.secrets, namespace),
        ("pod", bound.pods, namespace),
        # The node of a pod-bound token only informs; upstream validates it where it stands alone.
        ("node", bound.nodes if not private.get("pod") else None, ""),
    ):
        reference = private.get(kind)
        if reference and lister is not None:
            _check_reference(reference, lister.get(Key(where, reference.get("name", ""))), now)


def _check_reference(reference: Mapping[str, Any], obj: Obj | None, now: datetime) -> None:
    if obj is None or _is_gone(obj, now):
        raise TokenError(INVALIDATED)
    if get(obj, "metadata.uid", "") != reference.get("uid"):
        raise TokenError(INVALIDATED)


def _is_gone(obj: Obj, now: datetime) -> bool:
    deleted = get(obj, "metadata.deletionTimestamp")
    return deleted is not None and times.parse(deleted) < now - DELETION_LEEWAY
