"""Who may use a kubelet's API: the API server decides, and its answers are kept for a while.

A client certificate of the cluster's CA says who somebody is; a bearer token is put to a
TokenReview. What somebody may do is put to SubjectAccessReviews on the node's subresources.
Lives of answers are those of upstream's kubelet configuration.
"""

import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from minikube_py.api.authentication import TOKENREVIEWS
from minikube_py.api.authorization import SUBJECTACCESSREVIEWS
from minikube_py.api.errors import ForbiddenError, UnauthorizedError
from minikube_py.api.object import get
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock

TOKEN_SECONDS = 120.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
ANSWERS_MAX = 2000
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch",
         "DELETE": "delete"}  # fmt: skip
FINE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
"""First part of a path -> the only subresource that covers it."""
FINE_OR_PROXY = {"configz": "configz", "healthz": "healthz", "livez": "healthz", "pods": "pods",
                 "runningpods": "pods"}  # fmt: skip
"""First part of a path -> a subresource that covers it beside `proxy`."""


class Identity(NamedTuple):
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


K = TypeVar("K")
V = TypeVar("V")


class Answers(Generic[K, V]):
    """Answers of the API server that still hold; the oldest go where there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, question: K) -> V | None:
        """Return the answer that was kept, or None."""
        until, answer = self._kept.get(question, (0.0, None))
        return answer if until > self._clock.monotonic() else None

    def keep(self, question: K, answer: V, seconds: float) -> None:
        """Keep an answer for that long."""
        self._kept.pop(question, None)
        self._kept[question] = (self._clock.monotonic() + seconds, answer)
        while len(self._kept) > ANSWERS_MAX:
            self._kept.popitem(last=False)


class Access:
    """Knows who asks and asks whether they may."""

    def __init__(self, client: Client, node_name: str, clock: Clock) -> None:
        self._client = client
        self._node_name = node_name
        self._tokens: Answers[bytes, Identity] = Answers(clock)
        self._reviews: Answers[tuple[Identity, str, str], bool] = Answers(clock)

    async def check(
        self, certificate: ssl.SSLObject | None, authorization: str, method: str, path: str
    ) -> Identity:
        """Return who asks, where they may do that.

        Raises:
            UnauthorizedError: nobody known asks.
            ForbiddenError: they may not.
            StatusError: the API server did not answer.

        """
        identity = certificate_identity(certificate)
        if identity is None:
            identity = await self._token_identity(authorization)
        verb, subresources = attributes(method, path)
        for subresource in subresources:
            if await self._allowed(identity, verb, subresource):
                return identity
        raise ForbiddenError(
            f"Forbidden (user={identity.name}, verb={verb}, resource=nodes, "
            f"subresource(s)=[{' '.join(subresources)}])"
        )

    async def _token_identity(self, authorization: str) -> Identity:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError("Unauthorized")
        digest = hashlib.sha256(token.encode()).digest()
        identity = self._tokens.get(digest)
        if identity is None:
            review = await self._client.create(
                TOKENREVIEWS,
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenReview",
                    "metadata": {},
                    "spec": {"token": token.strip()},
                },
            )
            if not get(review, "status.authenticated", default=False):
                raise UnauthorizedError("Unauthorized")
            identity = _reviewed(get(review, "status.user") or {})
            self._tokens.keep(digest, identity, TOKEN_SECONDS)
        return identity

    async def _allowed(self, identity: Identity, verb: str, subresource: str) -> bool:
        question = (identity, verb, subresource)
        allowed = self._reviews.get(question)
        if allowed is None:
            review = await self._client.create(
                SUBJECTACCESSREVIEWS,
                {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SubjectAccessReview",
                    "metadata": {},
                    "spec": {
                        "user": identity.name,
                        "groups": list(identity.groups),
                        "uid": identity.uid,
                        "extra": {key: list(values) for key, values in identity.extra},
                        "resourceAttributes": {
                            "verb": verb,
                            "version": "v1",
                            "resource": "nodes",
                            "subresource": subresource,
                            "name": self._node_name,
                        },
                    },
                },
            )
            allowed = bool(get(review, "status.allowed", default=False))
            self._reviews.keep(question, allowed, ALLOWED_SECONDS if allowed else DENIED_SECONDS)
        return allowed


def attributes(method: str, path: str) -> tuple[str, Sequence[str]]:
    """Return the verb and the subresources of nodes, of which one has to be allowed; pure."""
    first = path.strip("/").split("/", 1)[0]
    verb = VERBS.get(method, "")
    if first in FINE:
        return verb, (FINE[first],)
    if first in FINE_OR_PROXY:
        return verb, (FINE_OR_PROXY[first], "proxy")
    return verb, ("proxy",)


def certificate_identity(connection: ssl.SSLObject | None) -> Identity | None:
    """Return whom a verified client certificate names: its CN, and its Os as groups."""
    certificate: Any = connection.getpeercert() if connection is not None else None
    if not certificate:
        return None
    fields = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for key, value in fields if key == "commonName"]
    groups = tuple(value for key, value in fields if key == "organizationName")
    return Identity(names[0], (*groups, "system:authenticated")) if names else None


def _reviewed(user: Mapping[str, Any]) -> Identity:
    extra = user.get("extra") or {}
    return Identity(
        str(user.get("username", "")),
        tuple(user.get("groups") or ()),
        str(user.get("uid", "")),
        tuple(sorted((key, tuple(values)) for key, values in extra.items())),
    )
