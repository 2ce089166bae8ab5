"""Events: what happened to an object, kept for an hour."""

from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Column, Resource


def source(event: Obj) -> str:
    """Return the component that an event came from, by its old or its new field."""
    return str(get(event, "source.component") or event.get("reportingComponent", ""))


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
