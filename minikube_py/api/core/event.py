"""Events: what happened to an object, kept for an hour."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Age, Column, Resource

LIMIT: Final = 128
"""Characters of reportingInstance, action and reason."""
NOTE_MAX: Final = 1024
"""Characters of the message of an event with eventTime."""
_ALWAYS: Final = {
    "eventTime": None,
    "firstTimestamp": None,
    "lastTimestamp": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
_OTHER_NAMESPACE: Final = "does not match event.namespace"


def default(event: Obj) -> Obj:
    """Fill in what an event always shows."""
    changes: dict[str, Any] = {key: value for key, value in _ALWAYS.items() if key not in event}
    for key in ("source", "involvedObject"):
        if event.get(key) is None:
            changes[key] = {}
    return {**event, **changes} if changes else event


def validate(event: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated event of the core group."""
    yield from validate_event(event, "reportingComponent")


def validate_event(event: Obj, controller: str) -> Iterator[FieldError]:
    """Report what breaks the rules of events in every version.

    `controller` is how the version calls the field with the reporting controller; the event is in
    the form of the core group.
    """
    namespace = event["metadata"].get("namespace") or ""
    involved = get(event, "involvedObject.namespace") or ""
    if not event.get("eventTime"):
        wrong = namespace not in {"", "default"} if not involved else namespace != involved
        if wrong:
            yield Field("involvedObject.namespace").invalid(involved, _OTHER_NAMESPACE)
    else:
        if not involved and namespace not in {"default", "kube-system"}:
            yield Field("involvedObject.namespace").invalid(involved, _OTHER_NAMESPACE)
        yield from _validate_new(event, controller)
    for message in names.dns1123_subdomain(namespace):
        yield Field("namespace").invalid(namespace, message)


def _validate_new(event: Obj, controller: str) -> Iterator[FieldError]:
    """Report what an event with eventTime must tell."""
    reporter = event.get("reportingComponent") or ""
    if not reporter:
        yield Field(controller).required()
    for message in names.qualified_name(reporter):
        yield Field(controller).invalid(reporter, message)
    for key in ("reportingInstance", "action", "reason"):
        value = event.get(key) or ""
        if not value:
            yield Field(key).required()
        if len(value.encode()) > LIMIT:
            yield Field(key).invalid("", f"can have at most {LIMIT} characters")
    if len((event.get("message") or "").encode()) > NOTE_MAX:
        yield Field("message").invalid("", f"can have at most {NOTE_MAX} characters")


def source(event: Obj) -> str:
    """Return the component that an event came from, by its old or its new field."""
    return str(get(event, "source.component") or event.get("reportingComponent", ""))


def cells(event: Obj) -> Sequence[Any]:
    """Return the row of an event."""
    first = event.get("firstTimestamp") or event.get("eventTime")
    last, count = event.get("lastTimestamp") or first, event.get("count") or 1
    if (series := event.get("series")) is not None:
        last, count = series.get("lastObservedTime"), series.get("count") or 0
    involved = event.get("involvedObject") or {}
    kind, name = (involved.get("kind") or "").lower(), involved.get("name")
    instance = get(event, "source.host") or event.get("reportingInstance")
    return (
        Age(last),
        event.get("type") or "",
        event.get("reason") or "",
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath") or "",
        f"{source(event)}, {instance}" if instance else source(event),
        (event.get("message") or "").strip(),
        Age(first),
        count,
        event["metadata"]["name"],
    )


EVENTS = Resource(
    kind="Event",
    plural="events",
    short_names=("ev",),
    schema="io.k8s.api.core.v1.Event",
    columns=(
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        Column("Subobject", priority=1),
        Column("Source", priority=1),
        Column("Message"),
        Column("First Seen", priority=1),
        Column("Count", priority=1),
        Column("Name", format="name", priority=1),
    ),
    cells=cells,
    default=default,
    validate=validate,
    validate_name=names.path_segment,
    metadata_checks=(),
    allow_create_on_update=True,
    selectable_fields={
        "involvedObject.apiVersion": lambda event: get(event, "involvedObject.apiVersion", ""),
        "involvedObject.fieldPath": lambda event: get(event, "involvedObject.fieldPath", ""),
        "involvedObject.kind": lambda event: get(event, "involvedObject.kind", ""),
        "involvedObject.name": lambda event: get(event, "involvedObject.name", ""),
        "involvedObject.namespace": lambda event: get(event, "involvedObject.namespace", ""),
        "involvedObject.resourceVersion": lambda event: get(
            event, "involvedObject.resourceVersion", ""
        ),
        "involvedObject.uid": lambda event: get(event, "involvedObject.uid", ""),
        "reason": lambda event: event.get("reason", ""),
        "reportingComponent": lambda event: event.get("reportingComponent", ""),
        "source": source,
        "type": lambda event: event.get("type", ""),
    },
)
