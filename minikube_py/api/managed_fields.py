"""Managed fields: who wrote which fields of an object last.

Each entry of `metadata.managedFields` names a manager, how it wrote (Update or Apply), the version
that it wrote in, and the set of fields that it owns. A write takes the fields that it changes from
all others; fields that vanish belong to nobody. The rules and limits are those of apimachinery's
`util/managedfields`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from minikube_py.api import times
from minikube_py.api.field_sets import (
    FieldSet,
    difference,
    of_paths,
    union,
    without_all_below,
)
from minikube_py.api.field_walks import Comparison, MissingKeyError, compare, created
from minikube_py.api.object import Obj, evolve, without
from minikube_py.api.resource import Resource
from minikube_py.api.schema import Type
from minikube_py.lib.memo import remembered

UPDATE: Final = "Update"
APPLY: Final = "Apply"
UPDATERS_MAX: Final = 10
"""Entries of Update beyond this are merged, the oldest first."""
ANCIENT: Final = "ancient-changes"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
MANAGER_BYTES_MAX: Final = 128
_NEVER_OWNED: Final = of_paths(
    ("apiVersion",),
    ("kind",),
    ("metadata",),
    *(
        ("metadata", name)
        for name in (
            "clusterName",
            "creationTimestamp",
            "generation",
            "managedFields",
            "name",
            "namespace",
            "resourceVersion",
            "selfLink",
            "uid",
        )
    ),
)
"""Fields that the server sets or that never change."""
_UNPRINTABLE = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's fields."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    """RFC 3339, "" where it is not known."""
    fields: FieldSet

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes two entries the same manager's; an applier's version does not."""
        version = "" if self.operation == APPLY else self.api_version
        return self.manager, self.operation, version, self.subresource

    def encode(self) -> dict[str, Any]:
        """Return the entry as it stands in an object."""
        entry: dict[str, Any] = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
        }
        if self.time:
            entry["time"] = self.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = self.fields
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who writes, where and when."""

    manager: str
    api_version: str
    now: datetime | None
    """None makes entries without a time, as the scale subresource has them."""
    subresource: str = ""
    ignored: FieldSet = field(default_factory=dict)
    """Fields that this endpoint resets, with all below them; see `reset_fields`."""

    def entry(self, operation: str, fields: FieldSet) -> Entry:
        """Return an entry of this writer, made now."""
        time = "" if self.now is None else times.format_seconds(self.now)
        return Entry(self.manager, operation, self.api_version, self.subresource, time, fields)


def manager_name(field_manager: str, user_agent: str) -> str:
    """Return the name of a writer: what the request says, or its program up to the first `/`."""
    return field_manager or _program(user_agent)


@remembered(1024)
def _program(user_agent: str) -> str:
    name = _UNPRINTABLE.sub("", user_agent.partition("/")[0])
    return name[:MANAGER_BYTES_MAX] or "unknown"


@lru_cache(256)
def reset_fields(*paths: tuple[str, ...]) -> FieldSet:
    """Make the `ignored` of a writer: `reset_fields(("status",))`."""
    return of_paths(*paths)


def entries_of(obj: Obj) -> list[Entry]:
    """Return the entries of an object; none where one of them cannot be read."""
    try:
        return [_decode(entry) for entry in obj["metadata"].get("managedFields") or ()]
    except (KeyError, TypeError, AttributeError):
        return []


def _decode(entry: Mapping[str, Any]) -> Entry:
    if entry["operation"] not in (UPDATE, APPLY) or entry.get("fieldsType") != "FieldsV1":
        raise TypeError
    fields = entry.get("fieldsV1") or {}
    return Entry(
        entry.get("manager", ""),
        entry["operation"],
        entry["apiVersion"],
        entry.get("subresource", ""),
        entry.get("time", ""),
        dict(fields),
    )


def track_update(kind: Type, old: Obj | None, new: Obj, writer: Writer) -> Obj:
    """Return the new object with its managed fields after a create, update or patch.

    Both objects are defaulted, and complete; `old` is None on create, when `new` need not be.
    """
    given = new["metadata"].get("managedFields")
    managed = _base(old, new, writer)
    if not managed and old is not None:
        return new if given is None else with_entries(new, ())  # nobody is tracked yet
    try:
        changes = Comparison(created(kind, new)) if old is None else compare(kind, old, new)
    except MissingKeyError:
        return new  # validation will refuse the object
    return with_entries(new, _after_update(managed, changes, writer))


def _base(old: Obj | None, new: Obj, writer: Writer) -> list[Entry]:
    """Return the entries that a write starts from; a client may write them itself."""
    live = [] if old is None else entries_of(old)
    given = new["metadata"].get("managedFields")
    if writer.subresource or given is None:
        return live
    if not given or list(given) == [{}]:
        return []  # an explicit reset
    return entries_of(new) or live


def _after_update(managed: Iterable[Entry], comparison: Comparison, writer: Writer) -> list[Entry]:
    changed = without_all_below(comparison.changed, writer.ignored)
    removed = without_all_below(comparison.removed, writer.ignored)
    left = take_away(managed, changed, removed) if managed else []
    own = difference(changed, _NEVER_OWNED)
    if not own:
        return left
    entry = writer.entry(UPDATE, own)
    for place, other in enumerate(left):
        if other.identity == entry.identity:
            left[place] = replace(entry, fields=union(own, other.fields))
            break
    else:
        left.append(entry)
    return _capped(left)


def take_away(managed: Iterable[Entry], *taken: FieldSet) -> list[Entry]:
    """Return the entries without some fields; those that own nothing more are gone."""
    out = []
    for entry in managed:
        fields = entry.fields
        for some in taken:
            fields = difference(fields, some)
        if fields is entry.fields:
            out.append(entry)
        elif fields:
            out.append(replace(entry, fields=fields))
    return out


def never_owned_removed(fields: FieldSet) -> FieldSet:
    """Return a set without the fields that no manager owns."""
    return difference(fields, _NEVER_OWNED)


def _capped(entries: list[Entry]) -> list[Entry]:
    """Merge the oldest updates of a version until there are few enough."""
    if len(entries) <= UPDATERS_MAX:
        return entries
    updates = sorted(
        (entry for entry in entries if entry.operation == UPDATE),
        key=lambda entry: (entry.time, entry.identity),
    )
    excess = len(updates) - UPDATERS_MAX
    if excess <= 0:
        return entries
    kept = [entry for entry in entries if entry.operation != UPDATE]
    buckets: dict[str, Entry] = {}
    for entry in updates:
        first = buckets.get(entry.api_version)
        if excess > 0 and first is not None:
            buckets[entry.api_version] = Entry(
                ANCIENT,
                UPDATE,
                entry.api_version,
                "",
                entry.time,
                union(first.fields, entry.fields),
            )
            excess -= 1
        elif excess > 0:
            buckets[entry.api_version] = entry
        else:
            kept.append(entry)
    return [*kept, *buckets.values()]


def with_entries(obj: Obj, entries: Sequence[Entry]) -> Obj:
    """Return the object with these entries, in upstream's order."""
    if not entries:
        return without(obj, "metadata.managedFields")
    order = entries if len(entries) == 1 else sorted(entries, key=_place)
    return evolve(obj, "metadata.managedFields", [entry.encode() for entry in order])


def _place(entry: Entry) -> tuple[str, ...]:
    return entry.operation, entry.time, entry.manager, entry.api_version, entry.subresource


_METADATA: Final = (("metadata",),)
_STATUS_RESETS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "apiservices.apiregistration.k8s.io": _METADATA,
    "customresourcedefinitions.apiextensions.k8s.io": _METADATA,
    "deployments.apps": (("metadata", "labels"),),
    "flowschemas.flowcontrol.apiserver.k8s.io": _METADATA,
    "pods": (("metadata", "deletionTimestamp"), ("metadata", "ownerReferences")),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": _METADATA,
    "resourceclaims.resource.k8s.io": _METADATA,
    "servicecidrs.networking.k8s.io": _METADATA,
    "validatingadmissionpolicies.admissionregistration.k8s.io": _METADATA,
    "volumeattachments.storage.k8s.io": _METADATA,
}
"""What a write of the status resets beside the spec."""
_MAIN_RESETS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "certificatesigningrequests.certificates.k8s.io": (("spec",),),
}
"""What any other write resets beside the status."""


def reset_of(resource: Resource, subresource: str = "") -> FieldSet:
    """Return the fields that an endpoint resets, by the strategies of upstream's registries."""
    name = resource.group_resource
    if subresource == "status":
        also = _METADATA if resource.custom else _STATUS_RESETS.get(name, ())
        return reset_fields(("spec",), *also)
    if subresource or resource.subresource("status") is None:
        return {}
    return reset_fields(("status",), *_MAIN_RESETS.get(name, ()))
