"""Who owns which fields: managed fields in the registry.

A write is tracked as its request asked for it, before admission and before the kind's rules, as
upstream's handlers do: what the server adds belongs to nobody. The server's own changes (bindings,
allocations) are not tracked.
"""

from datetime import datetime
from typing import Any

from minikube_py.api import managed_fields, schema
from minikube_py.api.managed_fields import Writer
from minikube_py.api.object import Obj
from minikube_py.api.schema_complete import complete
from minikube_py.server.registry.hooks import Write


def writer_of(write: Write, now: datetime) -> Writer:
    """Return who writes, for the managed fields."""
    return Writer(
        manager=write.field_manager,
        api_version=write.resource.api_version,
        now=now,
        subresource=write.subresource,
        ignored=managed_fields.reset_of(write.resource, write.subresource),
    )


def tracked(write: Write, new: Obj, old: Obj | None, now: datetime) -> Obj:
    """Return the new object with the managed fields of a create, update or patch."""
    resource = write.resource
    if write.trusted or write.applied or not write.field_manager or not resource.schema:
        return new
    kind = schema.type_of(resource.schema)
    writer = writer_of(write, now)
    done = managed_fields.track_update(kind, old, complete(kind, new), writer)
    entries = done["metadata"].get("managedFields")
    metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**new, "metadata": metadata}


def with_old_times(new: Obj, old: Obj) -> Obj:
    """Return the old object where the new one differs in no more than times of managed fields."""
    after, before = _entries(new), _entries(old)
    if after is before or len(after) != len(before):
        return new
    if any(_untimed(a) != _untimed(b) for a, b in zip(after, before, strict=True)):
        return new
    metadata = {**new["metadata"], "managedFields": before}
    restored = {**new, "metadata": metadata}
    return old if restored == old else new


def _entries(obj: Obj) -> Any:
    return obj["metadata"].get("managedFields") or ()


def _untimed(entry: Obj) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "time"}
