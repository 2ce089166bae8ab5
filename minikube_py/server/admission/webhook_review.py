"""AdmissionReview: what a webhook is asked, and what its answer has to be. Pure.

Versions v1 and v1beta1 differ in how strictly an answer is read. Rules and texts are those of
apiserver's `admission/plugin/webhook/{request,errors}`.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj
from minikube_py.api.patch.errors import go_type
from minikube_py.api.resource import Resource
from minikube_py.server.admission.matching import namespace_of
from minikube_py.server.attributes import Admission, User
from minikube_py.server.webhook.errors import WebhookError

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")
JSON_PATCH = "JSONPatch"


@dataclass(frozen=True)
class Question:
    """One request to a webhook."""

    uid: str
    version: str
    matched: Resource
    """The version of the resource in which the webhook sees the object."""
    obj: Obj | None
    old: Obj | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a webhook said."""

    allowed: bool
    patch: bytes = b""
    patch_type: str = ""
    status: Obj | None = None
    annotations: Mapping[str, str]
    warnings: Sequence[str] = ()


def version_of(versions: Sequence[str]) -> str:
    """Return the first version of AdmissionReview that both sides know; raises WebhookError."""
    for version in versions:
        if version in VERSIONS:
            return version
    raise WebhookError(
        "could not create admission objects: webhook does not accept known AdmissionReview "
        "versions (v1, v1beta1)"
    )


def review(admission: Admission, question: Question) -> dict[str, Any]:
    """Return the document that a webhook is asked with."""
    matched, sub = question.matched, admission.subresource
    given: dict[str, Any] = {
        "uid": question.uid,
        "kind": _kind(matched, sub),
        "resource": _resource(matched),
        "subResource": sub,
        "requestKind": _kind(admission.resource, sub),
        "requestResource": _resource(admission.resource),
        "requestSubResource": sub,
        "name": admission.name,
        "namespace": namespace_of(admission),
    }
    request = {
        **{key: value for key, value in given.items() if value},
        "operation": admission.operation,
        "userInfo": user_info(admission.user),
        "object": question.obj,
        "oldObject": question.old,
        "dryRun": admission.dry_run,
        "options": admission.options or None,
    }
    api_version = f"{GROUP}/{question.version}"
    return {"kind": "AdmissionReview", "apiVersion": api_version, "request": request}


def _kind(resource: Resource, subresource: str) -> Obj:
    group, version, kind = resource.kind_at(subresource)
    return {"group": group, "version": version, "kind": kind}


def _resource(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def user_info(user: User) -> dict[str, Any]:
    """Return a user as reviews show one (authentication.k8s.io/v1 UserInfo)."""
    document = {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    return {key: value for key, value in document.items() if value}


def answer_of(document: Any, question: Question, *, mutating: bool) -> Answer:
    """Read what came back.

    Raises:
        WebhookError: it is no answer to the question.

    """
    _typed(document, dict, "Go value of type", "AdmissionReview")
    response = document.get("response")
    _typed(response, dict, "Go struct field AdmissionReview.response of type", "AdmissionResponse")
    if response is None:
        raise _invalid("webhook response was absent")
    for name, kind, go in _FIELDS:
        _typed(response.get(name), kind, f"Go struct field AdmissionResponse.{name} of type", go)
    patch = _decoded(response)
    strict = question.version == "v1"
    if strict:
        check_envelope(document, response, question.uid, f"{GROUP}/v1", "AdmissionReview")
    patch, patch_type = _patch(patch, response.get("patchType"), mutating=mutating, strict=strict)
    return Answer(
        allowed=bool(response.get("allowed")),
        patch=patch,
        patch_type=patch_type,
        status=response.get("status"),
        annotations=response.get("auditAnnotations") or {},
        warnings=response.get("warnings") or (),
    )


_FIELDS: Sequence[tuple[str, type, str]] = (
    ("uid", str, "string"),
    ("allowed", bool, "bool"),
    ("status", dict, "v1.Status"),
    ("patch", str, "[]uint8"),
    ("patchType", str, "string"),
    ("auditAnnotations", dict, "map[string]string"),
    ("warnings", list, "[]string"),
)


def _typed(value: Any, kind: type, what: str, go: str) -> None:
    """Raise WebhookError where a value is of another type; of texts all must be texts."""
    wrong = [value] if value is not None and not isinstance(value, kind) else []
    if isinstance(value, dict) and go.startswith("map"):
        wrong.extend(inner for inner in value.values() if not isinstance(inner, str))
    elif isinstance(value, list) and kind is list:
        wrong.extend(inner for inner in value if not isinstance(inner, str))
    if wrong:
        raise WebhookError(
            f"failed to call webhook: json: cannot unmarshal {go_type(wrong[0])} into {what} {go}"
        )


def _invalid(why: str) -> WebhookError:
    return WebhookError(f"received invalid webhook response: {why}")


def check_envelope(document: Obj, response: Obj, uid: str, api_version: str, kind: str) -> None:
    """Raise WebhookError where a review is of another kind or answers another question."""
    given = str(response.get("uid") or "")
    if given != uid:
        raise _invalid(f'expected response.uid="{uid}", got {orjson.dumps(given).decode()}')
    shown = kind_text(document.get("apiVersion"), document.get("kind"))
    wanted = kind_text(api_version, kind)
    if shown != wanted:
        raise _invalid(f"expected webhook response of {wanted}, got {shown}")


def kind_text(api_version: Any, kind: Any) -> str:
    """Return a kind as Go prints it: `admission.k8s.io/v1, Kind=AdmissionReview`."""
    group, _, version = str(api_version or "").rpartition("/")
    return f"{group}/{version}, Kind={kind or ''}"


def _decoded(response: Obj) -> bytes:
    try:
        return base64.b64decode(response.get("patch") or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WebhookError("failed to call webhook: illegal base64 data") from error


def _patch(
    patch: bytes, patch_type: str | None, *, mutating: bool, strict: bool
) -> tuple[bytes, str]:
    if not mutating:
        if strict:
            _check_no_patch(patch, patch_type)
        return b"", ""
    if not strict:
        return patch, JSON_PATCH if patch else ""
    if patch and patch_type is None:
        raise _invalid("webhook returned response.patch but not response.patchType")
    if not patch and patch_type is not None:
        raise _invalid("webhook returned response.patchType but not response.patch")
    if patch_type == "":
        raise _invalid('webhook returned invalid response.patchType of ""')
    return patch, patch_type or ""


def _check_no_patch(patch: bytes, patch_type: str | None) -> None:
    if patch:
        raise _invalid("validating webhook may not return response.patch")
    if patch_type is not None:
        raise _invalid("validating webhook may not return response.patchType")


def denial(name: str, status: Obj | None) -> StatusError:
    """Return the refusal of a request that a webhook denied."""
    status = status or {}
    by = f'admission webhook "{name}" denied the request'
    message, reason = _text(status, "message"), _text(status, "reason")
    said = message or reason
    error = StatusError(f"{by}: {said}" if said else f"{by} without explanation")
    error.reason = reason
    code = status.get("code")
    error.code = code if isinstance(code, int) and 400 <= code < 600 else 400
    error.details = _details(status)
    return error


def _details(status: Obj) -> dict[str, Any]:
    """Return what a Status tells in `details`, as far as it is of the types that belong there."""
    given = status.get("details")
    if not isinstance(given, dict):
        return {}
    texts = {key: given[key] for key in _DETAILS if isinstance(given.get(key), str)}
    seconds = given.get("retryAfterSeconds")
    more = {"retryAfterSeconds": seconds} if type(seconds) is int else {}
    causes = given.get("causes")
    found = [cause for cause in causes if _is_cause(cause)] if isinstance(causes, list) else []
    return {**texts, **({"causes": found} if found else {}), **more}


_DETAILS = ("name", "group", "kind", "uid")


def _is_cause(cause: Any) -> bool:
    return isinstance(cause, dict) and all(isinstance(value, str) for value in cause.values())


def _text(status: Obj, key: str) -> str:
    value = status.get(key)
    return value if isinstance(value, str) else ""
