"""`serviceaccounts/token` and TokenReview: making tokens and telling whose they are."""

from typing import Any

from minikube_py.api import times
from minikube_py.api.core import SERVICEACCOUNTS
from minikube_py.api.fields import Field
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.server.apiserver.call import Call
from minikube_py.server.authn.chain import BearerTokens
from minikube_py.server.authn.tokens import TokenIssuer, refused, review
from minikube_py.server.registry.store import Store


class TokenRequests:
    """Makes tokens of a service account."""

    def __init__(self, store: Store, issuer: TokenIssuer) -> None:
        self._store = store
        self._issuer = issuer

    async def create(self, call: Call, document: dict[str, Any]) -> Obj:
        """Return the request with its token."""
        account = self._store.get(SERVICEACCOUNTS, call.namespace, call.name).obj
        given = get(document, "metadata.name")
        if given and given != call.name:
            error = Field("metadata.name").invalid(
                given, "must match the service account name if specified"
            )
            raise refused([error], call.name)
        answer = self._issuer.request(account, document.get("spec") or {})
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": call.name,
                "namespace": call.namespace,
                "uid": uid_of(account),
                "creationTimestamp": times.now_string(self._store.clock),
            },
            **answer,
        }


class TokenReviews:
    """Tells whose a token is."""

    def __init__(self, tokens: BearerTokens) -> None:
        self._tokens = tokens

    async def create(self, call: Call, document: dict[str, Any]) -> Obj:
        """Return the review with its status."""
        del call
        spec = document.get("spec") or {}
        return {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": document.get("metadata") or {},
            "spec": spec,
            "status": await review(self._tokens, spec),
        }
