"""Who may do what, asked through the API: the four access reviews and SelfSubjectReview."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api import times
from minikube_py.api.errors import InvalidError
from minikube_py.api.fields import Field, FieldError, invalid_message
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
from minikube_py.server.authz.selection import errors as selection_errors

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
        errors = list(_subject_errors(spec))
        if call.resource.kind == "LocalSubjectAccessReview":
            errors += _local_errors(spec, call.namespace)
        _refuse(errors)
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
        _refuse(list(_request_errors(spec)))
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


def _subject_errors(spec: Obj) -> list[FieldError]:
    errors = _request_errors(spec)
    if not spec.get("user") and not spec.get("groups"):
        errors.append(
            Field("spec.user").invalid(
                spec.get("user", ""), "at least one of user or group must be specified"
            )
        )
    return errors


def _request_errors(spec: Obj) -> list[FieldError]:
    """Apply upstream's rule that a review is about exactly one request."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        return [
            Field("spec.nonResourceAttributes").invalid(
                _as_in_go(other), "cannot be specified in combination with resourceAttributes"
            )
        ]
    if resource is None and other is None:
        return [
            Field("spec.resourceAttributes").invalid(
                None, "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            )
        ]
    return list(selection_errors(resource, Field("spec.resourceAttributes"))) if resource else []


def _as_in_go(attributes: Obj) -> Obj:
    """Return the attributes as upstream shows its own struct of them."""
    return {"Path": attributes.get("path", ""), "Verb": attributes.get("verb", "")}


def _local_errors(spec: Obj, namespace: str) -> list[FieldError]:
    if spec.get("nonResourceAttributes") is not None:
        return [
            Field("spec.nonResourceAttributes").invalid(
                _as_in_go(spec["nonResourceAttributes"]), "disallowed on this kind of request"
            )
        ]
    asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
    if asked != namespace:
        return [
            Field("spec.resourceAttributes.namespace").invalid(
                asked, "must match metadata.namespace"
            )
        ]
    return []


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise InvalidError(
            invalid_message(f".{GROUP}", "", errors),  # upstream names no kind here
            details={"group": GROUP},
            causes=[error.cause() for error in errors],
        )
