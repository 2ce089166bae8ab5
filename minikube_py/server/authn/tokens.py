"""Service-account tokens on request: TokenRequest, TokenReview and what OpenID clients ask for."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from minikube_py.api import times
from minikube_py.api.errors import BadRequestError, ConflictError, InvalidError, NotFoundError
from minikube_py.api.fields import Field, FieldError, invalid_message
from minikube_py.api.object import Key, Obj, get
from minikube_py.lib.clock import Clock
from minikube_py.server.attributes import User
from minikube_py.server.authn.chain import BearerTokens, TokenError, with_authenticated
from minikube_py.server.authn.service_account import PREFIX, Bound
from minikube_py.server.authn.signing import TokenSigner

DEFAULT_SECONDS = 3600
SHORTEST_SECONDS = 600
LONGEST_SECONDS = 1 << 32
WARN_SECONDS = 3607
"""What the ServiceAccount admission plugin asks for; such a token is made to last a year and warns
from then on, so that clients which never read it again still work (upstream's constant)."""
EXTENDED = timedelta(days=365)


@dataclass(frozen=True)
class TokenIssuer:
    """Makes the tokens of one issuer."""

    signer: TokenSigner
    issuer: str
    bound: Bound
    clock: Clock

    def request(self, account: Obj, spec: Obj) -> dict[str, Any]:
        """Return the TokenRequest, spec defaulted and status filled in.

        Raises:
            InvalidError: the duration is out of bounds.
            BadRequestError: the token cannot be bound to such an object.
            NotFoundError: the object to bind to is not there.
            ConflictError: it is another of the same name.

        """
        seconds = spec.get("expirationSeconds") or DEFAULT_SECONDS
        if errors := list(_check(seconds)):
            raise refused(errors)
        audiences = list(spec.get("audiences") or [self.issuer])
        reference = spec.get("boundObjectRef")
        now = self.clock.now().replace(microsecond=0)
        extends = audiences == [self.issuer] and seconds == WARN_SECONDS
        claims = {
            **_life(now, seconds, extends=extends and get(reference, "kind") == "Pod"),
            "aud": audiences,
            "iss": self.issuer,
            "sub": f"{PREFIX}{account['metadata']['namespace']}:{account['metadata']['name']}",
            "jti": str(uuid.uuid4()),
        }
        warn = claims.pop("warnafter", None)
        private = {**self._private(account, reference), **({"warnafter": warn} if warn else {})}
        token = self.signer.sign({**claims, "kubernetes.io": dict(sorted(private.items()))})
        return {
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": reference,
            },
            "status": {
                "token": token,
                "expirationTimestamp": times.format_seconds(now + timedelta(seconds=seconds)),
            },
        }

    def _private(self, account: Obj, reference: Obj | None) -> dict[str, Any]:
        private: dict[str, Any] = {
            "namespace": account["metadata"]["namespace"],
            "serviceaccount": _named(account),
        }
        if reference is None:
            return private
        kind, obj = self._find(account, reference)
        uid = reference.get("uid")
        if uid and uid != get(obj, "metadata.uid"):
            name = reference.get("name", "")
            raise ConflictError(
                f'Operation cannot be fulfilled on {reference.get("kind")} "{name}": the UID in '
                f"the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
                details={"kind": reference.get("kind"), "name": name},
            )
        private[kind] = _named(obj)
        if kind == "pod" and (node_name := get(obj, "spec.nodeName")):
            node = self.bound.nodes.get(Key("", node_name))
            private["node"] = _named(node) if node is not None else {"name": node_name}
        return private

    def _find(self, account: Obj, reference: Obj) -> tuple[str, Obj]:
        kind, version = reference.get("kind", ""), reference.get("apiVersion", "")
        listers = {
            "Pod": ("pods", self.bound.pods),
            "Secret": ("secrets", self.bound.secrets),
            "Node": ("nodes", self.bound.nodes),
        }
        if version != "v1" or kind not in listers:
            group = version if "/" in version else f"/{version}"
            raise BadRequestError(f"cannot bind token to object of type {group}, Kind={kind}")
        plural, lister = listers[kind]
        name = reference.get("name", "")
        namespace = "" if kind == "Node" else account["metadata"]["namespace"]
        obj = lister.get(Key(namespace, name))
        if obj is None:
            raise NotFoundError(
                f'{plural} "{name}" not found', details={"kind": plural, "name": name}
            )
        account_name = account["metadata"]["name"]
        if kind == "Pod" and get(obj, "spec.serviceAccountName") != account_name:
            raise BadRequestError(
                f'cannot bind token for serviceaccount "{account_name}" to pod running with '
                "different serviceaccount name."
            )
        return kind.lower(), obj


def _named(obj: Obj) -> dict[str, str]:
    return {"name": obj["metadata"]["name"], "uid": get(obj, "metadata.uid", "")}


def _life(now: datetime, seconds: int, *, extends: bool) -> dict[str, Any]:
    start = int(now.timestamp())
    life: dict[str, Any] = {"iat": start, "nbf": start, "exp": start + seconds}
    if extends:
        life |= {"exp": start + int(EXTENDED.total_seconds()), "warnafter": start + seconds}
    return life


def _check(seconds: int) -> Iterator[FieldError]:
    field = Field("spec") / "expirationSeconds"
    if seconds < SHORTEST_SECONDS:
        yield field.invalid(seconds, "may not specify a duration less than 10 minutes")
    if seconds > LONGEST_SECONDS:
        yield field.invalid(seconds, "may not specify a duration larger than 2^32 seconds")


def refused(errors: Sequence[FieldError], name: str = "") -> InvalidError:
    """Make the refusal of a TokenRequest; upstream names the account only in some of them."""
    kind, group = "TokenRequest", "authentication.k8s.io"
    details = {"name": name} if name else {}
    return InvalidError(
        invalid_message(f"{kind}.{group}", name, errors),
        details={**details, "group": group, "kind": kind},
        causes=[error.cause() for error in errors],
    )


async def review(tokens: BearerTokens, spec: Obj) -> dict[str, Any]:
    """Return the status of a TokenReview.

    Raises:
        BadRequestError: there is no token in it.

    """
    token = spec.get("token") or ""
    if not token:
        raise BadRequestError("token is required for TokenReview in authentication")
    try:
        verified = await tokens.verify(token, spec.get("audiences") or tokens.audiences)
    except TokenError as error:
        return {"user": {}, "error": str(error)}
    user = with_authenticated(verified.user)
    return {
        "authenticated": True,
        "user": user_info(user),
        "audiences": list(verified.audiences),
    }


def user_info(user: User) -> dict[str, Any]:
    """Return a user as reviews show it."""
    info: dict[str, Any] = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info


def openid_configuration(signer: TokenSigner, issuer: str, jwks_uri: str) -> Mapping[str, Any]:
    """Return `/.well-known/openid-configuration` (OpenID Connect Discovery, section 3)."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [signer.algorithm],
    }
