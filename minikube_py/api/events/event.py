"""Events of events.k8s.io: the core Event under new field names.

Both are one stored kind, in its core form; the two conversions below rename fields.
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.core.event import EVENTS
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


EVENTS_V1 = Resource(
    group="events.k8s.io",
    kind="Event",
    plural="events",
    short_names=("ev",),
    schema="io.k8s.api.events.v1.Event",
    columns=EVENTS.columns,
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
    storage=StorageForm(EVENTS, to_core, from_core),
)
