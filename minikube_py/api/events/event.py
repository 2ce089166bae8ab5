"""Events of events.k8s.io: the core Event under new field names.

Both are one stored kind, in its core form; the two conversions below rename fields.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import event as core
from minikube_py.api.core.event import EVENTS
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Resource, StorageForm

NEW_BY_CORE: Mapping[str, str] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_STORED_FIELDS: Mapping[str, str] = {
    "reportingController": "reportingComponent",
    **{
        f"regarding.{name}": f"involvedObject.{name}"
        for name in (
            "apiVersion",
            "fieldPath",
            "kind",
            "name",
            "namespace",
            "resourceVersion",
            "uid",
        )
    },
}
CORE_BY_NEW: Mapping[str, str] = {new: core for core, new in NEW_BY_CORE.items()}
_ALWAYS_CORE: Mapping[str, Any] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
"""What the core form prints even where it is empty."""
_ALWAYS_NEW: Mapping[str, Any] = {
    "eventTime": None,
    "deprecatedSource": {},
    "deprecatedFirstTimestamp": None,
    "deprecatedLastTimestamp": None,
}
"""What the new form prints even where it is empty."""
_OMITTED_NEW = ("reportingController", "reportingInstance")
"""What the new form leaves out where it is empty."""


def to_core(event: Obj) -> Obj:
    """Return an event of events.k8s.io/v1 in its stored form."""
    renamed = {CORE_BY_NEW.get(name, name): value for name, value in event.items()}
    return {**_ALWAYS_CORE, **renamed, "apiVersion": "v1"}


def from_core(event: Obj) -> Obj:
    """Return a core event as events.k8s.io/v1 shows it."""
    renamed = {NEW_BY_CORE.get(name, name): value for name, value in event.items()}
    for name in _OMITTED_NEW:
        if not renamed.get(name):
            renamed.pop(name, None)
    if not renamed.get("regarding"):
        renamed.pop("regarding", None)
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def default(event: Obj) -> Obj:
    """Fill in what an event always shows."""
    missing = {key: value for key, value in _ALWAYS_NEW.items() if key not in event}
    return {**event, **missing} if missing else event


_TYPES = frozenset({"Normal", "Warning"})
_UNSET = ("firstTimestamp", "lastTimestamp", "count")
_IMMUTABLE = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated event; only its series ever changes.

    Errors name the fields of the core form, as upstream's do.
    """
    event = to_core(new)
    yield from core.validate_event(event, "reportingController")
    if old is None:
        yield from _validate_new(event)
        return
    before = to_core(old)
    if event.get("series") != before.get("series"):
        yield from _validate_series(event)
    for key in _IMMUTABLE:
        if (event.get(key) or None) != (before.get(key) or None):
            field = Field("reportingController" if key == "reportingComponent" else key)
            yield field.immutable(event.get(key))


def _validate_new(event: Obj) -> Iterator[FieldError]:
    yield from _validate_series(event)
    if not event.get("eventTime"):
        yield Field("eventTime").required()
    kind = event.get("type", "")
    if kind not in _TYPES:
        yield Field("type").invalid("", f"has invalid value: {kind}")
    for key in _UNSET:
        if event.get(key):
            yield Field(key).invalid("", "needs to be unset")
    if any((event.get("source") or {}).values()):
        yield Field("source").invalid("", "needs to be unset")


def _validate_series(event: Obj) -> Iterator[FieldError]:
    series = event.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        yield Field("series.count").invalid("", "should be at least 2")
    if not series.get("lastObservedTime"):
        yield Field("series.lastObservedTime").required()


def cells(event: Obj) -> Sequence[Any]:
    """Return the row of an event."""
    return core.cells(to_core(event))


EVENTS_V1 = Resource(
    group="events.k8s.io",
    kind="Event",
    plural="events",
    short_names=("ev",),
    schema="io.k8s.api.events.v1.Event",
    columns=EVENTS.columns,
    cells=cells,
    default=default,
    validate=validate,
    validate_name=EVENTS.validate_name,
    allow_create_on_update=True,
    selectable_fields={
        "regarding.kind": lambda event: get(event, "regarding.kind", ""),
        "regarding.namespace": lambda event: get(event, "regarding.namespace", ""),
        "regarding.name": lambda event: get(event, "regarding.name", ""),
        "regarding.uid": lambda event: get(event, "regarding.uid", ""),
        "regarding.apiVersion": lambda event: get(event, "regarding.apiVersion", ""),
        "regarding.resourceVersion": lambda event: get(event, "regarding.resourceVersion", ""),
        "regarding.fieldPath": lambda event: get(event, "regarding.fieldPath", ""),
        "reportingController": lambda event: get(event, "reportingController", ""),
        "reason": lambda event: get(event, "reason", ""),
        "type": lambda event: get(event, "type", ""),
    },
    storage=StorageForm(EVENTS, to_core, from_core, _STORED_FIELDS),
)
