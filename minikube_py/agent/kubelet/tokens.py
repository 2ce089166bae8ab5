"""Service-account tokens for pods: asked for, kept, and renewed before they end.

A token is bound to its pod and dies with it. It is renewed when four fifths of its life are over
or it is a day old, whichever comes first, as the kubelet's token manager does; until a renewal
succeeds the old one is used for as long as it is good.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.api import times
from minikube_py.api.core import SERVICEACCOUNTS
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock

DEFAULT_SECONDS = 3600
AGE_MAX = timedelta(hours=24)
LIFE_PART = 0.8


class TokenError(Exception):
    """No token could be had; the message is that of the server."""


@dataclass(frozen=True)
class _Token:
    text: str
    issued: datetime
    expires: datetime

    @property
    def renew_at(self) -> datetime:
        return self.issued + min((self.expires - self.issued) * LIFE_PART, AGE_MAX)


TokenKey = tuple[str, str, int]
"""(uid of the pod, audience, seconds)"""


def token_sources(pod: Obj) -> list[Obj]:
    """Return the serviceAccountToken projections of a pod."""
    return [
        part["serviceAccountToken"]
        for volume in volumes_of(pod)
        for part in get(volume, "projected.sources") or ()
        if part.get("serviceAccountToken")
    ]


class Tokens:
    """The tokens of the pods of this node."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[TokenKey, _Token] = {}

    async def prepare(self, pod: Obj) -> datetime | None:
        """Have a good token for every source of the pod; return when to call again, if ever.

        Raises:
            TokenError: one is missing and the server gave none.

        """
        times_due = [await self._prepare(pod, source) for source in token_sources(pod)]
        return min(times_due, default=None)

    def token(self, pod: Obj, source: Obj) -> str:
        """Return a token that was prepared."""
        return self._kept[_key(pod, source)].text

    async def granted(self, pod: Obj, requests: Iterable[Obj]) -> dict[str, tuple[str, datetime]]:
        """Return good tokens for some audiences, each with the moment of its end.

        Raises:
            TokenError: one is missing and the server gave none.

        """
        found = {}
        for request in requests:
            await self._prepare(pod, request)
            kept = self._kept[_key(pod, request)]
            found[request.get("audience") or ""] = (kept.text, kept.expires)
        return found

    def forget(self, uid: str) -> None:
        """Drop the tokens of a pod."""
        for key in [key for key in self._kept if key[0] == uid]:
            del self._kept[key]

    async def _prepare(self, pod: Obj, source: Obj) -> datetime:
        key = _key(pod, source)
        now = self._clock.now()
        kept = self._kept.get(key)
        if kept is None or now >= kept.renew_at:
            try:
                kept = self._kept[key] = await self._request(pod, source)
            except StatusError as error:
                if kept is None or now >= kept.expires:
                    raise TokenError(f"failed to fetch token: {error}") from error
                return now + timedelta(minutes=1)
        # A client that goes on without a server may give a token whose time is up.
        return max(kept.renew_at, now + timedelta(minutes=1))

    async def _request(self, pod: Obj, source: Obj) -> _Token:
        metadata = pod["metadata"]
        audience = source.get("audience")
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": uid_of(pod),
        }
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": metadata.get("namespace", "")},
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": source.get("expirationSeconds", DEFAULT_SECONDS),
                "boundObjectRef": bound,
            },
        }
        name = get(pod, "spec.serviceAccountName", "default")
        issued = self._clock.now()
        answer = await self._client.create(SERVICEACCOUNTS, request, subresource="token", name=name)
        status = answer["status"]
        return _Token(status["token"], issued, times.parse(status["expirationTimestamp"]))


def _key(pod: Obj, source: Obj) -> TokenKey:
    seconds = source.get("expirationSeconds", DEFAULT_SECONDS)
    return uid_of(pod), source.get("audience") or "", seconds


def earliest(moments: Iterable[datetime | None]) -> datetime | None:
    """Return the first of some moments, or None where there is none."""
    return min((moment for moment in moments if moment is not None), default=None)
