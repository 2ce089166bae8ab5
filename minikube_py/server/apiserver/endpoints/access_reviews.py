"""Who may do what, asked through the API: the four access reviews and SelfSubjectReview."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api import times
from minikube_py.api.errors import InvalidError
from minikube_py.api.fields import FieldError, invalid_message
from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from minikube_py.server.apiserver.call import Call
from minikube_py.server.attributes import (
    Attributes,
    Authorizer,
    Decision,
    Preparing,
    UnansweredError,
    User,
)
from minikube_py.server.authn.tokens import user_info
from minikube_py.server.authz.asking import asked
from minikube_py.server.authz.rbac import Rbac
from minikube_py.server.authz.rules import WEBHOOK_ERROR, rules_status
from minikube_py.server.authz.selection import Selection, selection_of

GROUP = "authorization.k8s.io"


class AccessReviews:
    """Answers SubjectAccessReviews, local ones, and those about oneself."""

    def __init__(self, authorizer: Authorizer, rbac: Rbac, clock: Clock) -> None:
        self._clock = clock
        self._authorizer = authorizer
        self._rbac = rbac

    async def subject(self, call: Call, document: dict[str, Any]) -> Obj:
        """Answer about any user; a local review only about its own namespace."""
        spec: Obj = document.get("spec") or {}
        _check(call, document)
        user = User(
            name=str(spec.get("user", "")),
            groups=tuple(spec.get("groups") or ()),
            uid=str(spec.get("uid", "")),
            extra={key: tuple(values) for key, values in (spec.get("extra") or {}).items()},
        )
        return await self._review(call, document, user, spec)

    async def self_subject(self, call: Call, document: dict[str, Any]) -> Obj:
        """Answer about the user who asks."""
        spec = document.get("spec") or {}
        _check(call, document)
        return await self._review(call, document, call.user, spec)

    async def _review(self, call: Call, document: Obj, user: User, spec: Obj) -> dict[str, Any]:
        selection = selection_of(spec.get("resourceAttributes") or {})
        attributes = attributes_of(user, spec, selection)
        decision, problem = await self._decide(attributes)
        problems = [text for text in (problem, selection.problem) if text]
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.denied:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        if problems:
            status["evaluationError"] = "; ".join(problems)
        return _document(call, document, spec, status)

    async def _decide(self, attributes: Attributes) -> tuple[Decision, str]:
        """Return the decision, and why it may not be whole."""
        try:
            return await asked(self._authorizer, attributes), ""
        except UnansweredError as error:
            return Decision(allowed=False, denied=error.denies), error.why

    async def rules(self, call: Call, document: dict[str, Any]) -> Obj:
        """List what the user who asks may do in a namespace."""
        spec = document.get("spec") or {}
        namespace = str(spec.get("namespace", ""))
        asks = isinstance(self._authorizer, Preparing) and self._authorizer.asks_others
        unknown = (WEBHOOK_ERROR,) if asks else ()
        status = rules_status(self._rbac, call.user, namespace, unknown)
        return _document(call, {}, {}, status)

    async def self_review(self, call: Call, document: dict[str, Any]) -> Obj:
        """Tell the user who asks who that is."""
        del document
        return {
            "kind": "SelfSubjectReview",
            "apiVersion": call.resource.api_version,
            "metadata": {"creationTimestamp": times.now_string(self._clock)},
            "status": {"userInfo": user_info(call.user)},
        }


def _document(call: Call, document: Obj, spec: Obj, status: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in (document.get("metadata") or {}).items() if k != "managedFields"}
    return {
        "kind": call.resource.kind,
        "apiVersion": call.resource.api_version,
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def attributes_of(user: User, spec: Obj, selection: Selection) -> Attributes:
    """Return the request that a review is about."""
    wanted = spec.get("resourceAttributes")
    if wanted is None:
        other = spec.get("nonResourceAttributes") or {}
        return Attributes(
            user=user, verb=other.get("verb", ""), path=other.get("path", ""), is_resource=False
        )
    return Attributes(
        user=user,
        verb=wanted.get("verb", ""),
        group=wanted.get("group", ""),
        version=wanted.get("version") or "*",
        resource=wanted.get("resource", ""),
        subresource=wanted.get("subresource", ""),
        namespace=wanted.get("namespace", ""),
        name=wanted.get("name", ""),
        field_selector=selection.fields,
        label_selector=selection.labels,
    )


def _check(call: Call, document: Obj) -> None:
    """Refuse a question that makes no sense; a local one is about the namespace of its path."""
    metadata = {**(document.get("metadata") or {})}
    if call.resource.namespaced:
        metadata["namespace"] = call.namespace
    asked = {**document, "metadata": metadata, "spec": document.get("spec") or {}}
    _refuse(list(call.resource.validate(asked, None)))


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise InvalidError(
            invalid_message(f".{GROUP}", "", errors),  # upstream names no kind here
            details={"group": GROUP},
            causes=[error.cause() for error in errors],
        )
