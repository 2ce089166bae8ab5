"""One event of the audit log in upstream's form, `audit.k8s.io/v1` Event. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api.object import Obj, without
from minikube_py.api.times import format_micros
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.attributes import User


class Origin(NamedTuple):
    """Where a request came from, and how it asked."""

    audit_id: str
    uri: str
    source_ips: Sequence[str]
    user_agent: str
    received: datetime


@dataclass
class Content:
    """What becomes known of a request on its way."""

    user: User | None
    info: RequestInfo
    impersonated: User | None = None
    name: str = ""
    """The name that an object brought along which the path did not name."""
    uid: str = ""
    resource_version: str = ""
    request: Any = None
    response: Obj | Callable[[], Obj] | None = None
    """A document, or what makes it when it is written."""
    code: int = 0
    refusal: Obj | None = None
    """The Status of a request that was refused."""
    annotations: dict[str, str] = field(default_factory=dict)


def event(
    level: str, stage: str, origin: Origin, content: Content, now: datetime
) -> dict[str, Any]:
    """Return the event of one stage."""
    made: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": level,
        "auditID": origin.audit_id,
        "stage": stage,
        "requestURI": origin.uri,
        "verb": content.info.verb,
        "user": user_info(content.user),
    }
    if content.impersonated is not None:
        made["impersonatedUser"] = user_info(content.impersonated)
    made["sourceIPs"] = origin.source_ips
    if origin.user_agent:
        made["userAgent"] = origin.user_agent
    if content.info.is_resource:
        made["objectRef"] = _reference(content)
    if content.code:
        made["responseStatus"] = _status(content)
    if content.request is not None and content.request not in _NOTHING:
        made["requestObject"] = content.request
    if content.response is not None and content.response not in _NOTHING:
        made["responseObject"] = content.response
    made["requestReceivedTimestamp"] = format_micros(origin.received)
    made["stageTimestamp"] = format_micros(now)
    if content.annotations:
        made["annotations"] = content.annotations
    return made


_NOTHING: tuple[Any, ...] = ("", {})


def user_info(user: User | None) -> dict[str, Any]:
    """Return a user as events show it."""
    if user is None:
        return {}
    shown: dict[str, Any] = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = user.groups
    if user.extra:
        shown["extra"] = dict(user.extra)
    return shown


def _reference(content: Content) -> dict[str, str]:
    info = content.info
    fields = {
        "resource": info.plural,
        "namespace": info.namespace,
        "name": info.name or content.name,
        "uid": content.uid,
        "apiGroup": info.group,
        "apiVersion": info.version,
        "resourceVersion": content.resource_version,
        "subresource": info.subresource,
    }
    return {key: value for key, value in fields.items() if value}


def _status(content: Content) -> dict[str, Any]:
    refusal = content.refusal
    if refusal is None:
        return {"metadata": {}, "code": content.code}
    kept = ("status", "message", "reason", "details")
    return {
        "metadata": {},
        **{key: refusal[key] for key in kept if refusal.get(key)},
        "code": content.code,
    }


def without_managed_fields(document: Any) -> Any:
    """Return a document, or a list's items, without their managed fields."""
    if not isinstance(document, Mapping):
        return document
    if isinstance(document.get("items"), list):
        return {**document, "items": [without_managed_fields(item) for item in document["items"]]}
    metadata = document.get("metadata")
    if isinstance(metadata, Mapping) and "managedFields" in metadata:
        return without(document, "metadata.managedFields")
    return document


def legacy_line(entry: Mapping[str, Any]) -> bytes:
    """Return an event as a line of the legacy format."""
    user, other = entry["user"], entry.get("impersonatedUser") or {}
    status = entry.get("responseStatus") or {}
    groups, as_groups = _quoted(user.get("groups")), _quoted(other.get("groups"))
    namespace = (entry.get("objectRef") or {}).get("namespace") or "<none>"
    ips = entry["sourceIPs"]
    parts = (
        f'id="{entry["auditID"]}"',
        f'stage="{entry["stage"]}"',
        f'ip="{ips[0] if ips else "<unknown>"}"',
        f'method="{entry["verb"]}"',
        f'user="{user.get("username") or "<none>"}"',
        f'groups="{groups or "<none>"}"',
        f'as="{other.get("username") or "<self>"}"',
        f'asgroups="{as_groups or "<lookup>"}"',
        f'user-agent="{_plain(entry.get("userAgent", ""))}"',
        f'namespace="{namespace}"',
        f'uri="{_plain(entry["requestURI"])}"',
        f'response="{status.get("code") or "<deferred>"}"',
    )
    return f"{entry['stageTimestamp']} AUDIT: {' '.join(parts)}\n".encode(errors="replace")


def _quoted(names: Sequence[str] | None) -> str:
    return ",".join(f'\\"{_plain(name)}\\"' for name in names or ())


def _plain(text: str) -> str:
    """Keep a text on its line and inside its quotes: it comes from the client."""
    return text.encode("unicode_escape").decode().replace('"', '\\"')
