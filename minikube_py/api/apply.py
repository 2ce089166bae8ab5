"""Server-side apply: a client states the fields that it cares for, the server merges and remembers.

Fields that are applied are owned. What the same manager applied before and applies no longer is
removed, unless another manager owns it too. To change a field that another manager owns is a
conflict, unless it is forced. The rules are those of structured-merge-diff's `merge.Updater.Apply`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import orjson

from minikube_py.api import managed_fields
from minikube_py.api.apply_merge import members, merge, remove
from minikube_py.api.apply_typed import problems
from minikube_py.api.errors import BadRequestError, ConflictError, StatusError
from minikube_py.api.field_sets import (
    FieldSet,
    difference,
    intersection,
    paths,
    union,
    without_all_below,
)
from minikube_py.api.field_walks import MissingKeyError, compare, field_set, zero
from minikube_py.api.managed_fields import APPLY, BEFORE_FIRST_APPLY, UPDATE, Entry, Writer
from minikube_py.api.object import Obj, evolve, get, without
from minikube_py.api.schema import Type
from minikube_py.api.schema_check import check
from minikube_py.api.schema_report import DecodeError

KUBECTL: Final = "kubectl"
LAST_APPLIED: Final = (
    "metadata",
    "annotations",
    "kubectl.kubernetes.io/last-applied-configuration",
)


class TypedPatchError(StatusError):
    """An applied configuration that does not fit its kind; upstream answers 500 to it."""

    reason, code = "", 500


def apply(
    kind: Type, live: Obj | None, applied: Obj, writer: Writer, *, force: bool = False
) -> Obj:
    """Return the object after an apply, with its managed fields but without defaults.

    `live` is the stored object, None where the apply creates it. An apply that changes nothing
    returns `live` itself.

    Raises:
        BadRequestError: the configuration has managed fields of its own.
        TypedPatchError: it does not fit its kind.
        ConflictError: another manager owns a field that would change, and `force` is not given.

    """
    if applied["metadata"].get("managedFields") is not None:
        raise BadRequestError("metadata.managedFields must be nil")
    _check_typed(kind, applied)
    try:
        return _applied(kind, live, applied, writer, force=force)
    except MissingKeyError:
        if live is not None:
            _check_typed(kind, live, "live object")
        raise


def _applied(kind: Type, live: Obj | None, applied: Obj, writer: Writer, *, force: bool) -> Obj:
    head = {"kind": applied["kind"], "apiVersion": applied["apiVersion"]}
    before = {**zero(kind), **head} if live is None else live
    managed = managed_fields.entries_of(before)
    if not managed and live is not None:
        managed = _before_first_apply(kind, live, writer)
    bare = without(before, "metadata.managedFields")
    try:
        out, entries = _apply(kind, bare, applied, managed, writer, force=force)
    except _Conflicts as conflicts:
        if writer.manager != KUBECTL or not _all_ours(kind, bare, conflicts, writer):
            raise _conflict_error(conflicts.entries) from None
        out, entries = _apply(kind, bare, applied, managed, writer, force=True)
    if live is not None and out == bare and _same(entries, managed):
        return live
    return managed_fields.with_entries(_synced(out, applied, writer), entries)


class _Conflicts(Exception):  # noqa: N818 -- becomes a ConflictError unless it is allowed
    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.entries = entries


def _check_typed(kind: Type, applied: Obj, what: str = "patch object") -> None:
    found = list(problems(kind, applied))
    if not found:
        return
    text = found[0] if len(found) == 1 else "\n  ".join(["errors:", *found])
    metadata = applied["metadata"]
    group, _, version = applied["apiVersion"].rpartition("/")
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    where = f"{name}; {group}/{version}, Kind={applied['kind']}"
    raise TypedPatchError(f"failed to create typed {what} ({where}): {text}")


def _before_first_apply(kind: Type, live: Obj, writer: Writer) -> list[Entry]:
    """Return the entry that owns all that was there before anybody applied."""
    earlier = replace(writer, manager=BEFORE_FIRST_APPLY)
    changed = without_all_below(compare(kind, zero(kind), live).changed, writer.ignored)
    own = managed_fields.never_owned_removed(changed)
    return [earlier.entry(UPDATE, own)] if own else []


def _apply(
    kind: Type,
    live: Obj,
    applied: Obj,
    managed: Sequence[Entry],
    writer: Writer,
    *,
    force: bool,
) -> tuple[Obj, list[Entry]]:
    own = without_all_below(field_set(kind, applied), writer.ignored)
    entry = writer.entry(APPLY, managed_fields.never_owned_removed(own))
    last = next((e for e in managed if e.identity == entry.identity), None)
    others = [e for e in managed if e is not last]
    merged = merge(kind, live, applied)
    if last is not None:
        owned = [*(other.fields for other in others), own]
        merged = _prune(kind, merged, last.fields, owned)
    comparison = compare(kind, live, merged)
    changed = without_all_below(comparison.changed, writer.ignored)
    conflicts = [
        replace(other, fields=both)
        for other in others
        if (both := intersection(other.fields, changed))
    ]
    if conflicts and not force:
        raise _Conflicts(conflicts)
    removed = without_all_below(comparison.removed, writer.ignored)
    left = managed_fields.take_away(others, changed, removed)
    same = not changed and not removed
    if same:  # nothing happened now, so that the entry keeps the time that it had
        entry = replace(entry, time="" if last is None else last.time)
    if entry.fields:
        left.append(entry)
    if same:  # what this endpoint resets is not looked at, and may not reach the object
        return live, left
    try:
        return check(kind, merged).obj, left
    except DecodeError as error:
        raise TypedPatchError(str(error)) from error


def _prune(kind: Type, merged: Obj, last: FieldSet, owned: Iterable[FieldSet]) -> Obj:
    """Remove what the manager applied before and nobody owns any more."""
    last_members = members(kind, last)
    pruned = remove(kind, merged, last_members)
    everything = members(kind, field_set(kind, merged))
    everybodys: FieldSet = {}
    for fields in owned:
        everybodys = union(everybodys, fields)
    # What others own comes back, with the containers that lead to it ...
    kept = union(members(kind, field_set(kind, pruned)), members(kind, everybodys))
    pruned = remove(kind, merged, difference(everything, kept))
    # ... and so does what went only because something above it did.
    gone = difference(everything, members(kind, field_set(kind, pruned)))
    return remove(kind, merged, intersection(gone, last_members))


def _same(entries: Sequence[Entry], managed: Sequence[Entry]) -> bool:
    return {e.identity: e.fields for e in entries} == {e.identity: e.fields for e in managed}


# --- kubectl's annotation -------------------------------------------------------------------------


def _all_ours(kind: Type, live: Obj, conflicts: _Conflicts, writer: Writer) -> bool:
    """Tell whether all conflicts are with what kubectl applied on the client's side before."""
    text = get(live, LAST_APPLIED)
    if not text:
        return False
    try:
        last = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(last, Mapping) or last.get("apiVersion") != writer.api_version:
        return False
    comparison = compare(kind, last, live)
    allowed = difference(field_set(kind, last), comparison.changed)
    allowed = difference(allowed, comparison.removed)
    return not any(difference(entry.fields, allowed) for entry in conflicts.entries)


def _synced(obj: Obj, applied: Obj, writer: Writer) -> Obj:
    """Keep the annotation of client-side apply true where kubectl applies and it is there."""
    if writer.manager != KUBECTL or not get(obj, LAST_APPLIED):
        return obj
    text = orjson.dumps(without(applied, LAST_APPLIED), option=orjson.OPT_SORT_KEYS).decode()
    return evolve(obj, LAST_APPLIED, text + "\n")


# --- conflicts ------------------------------------------------------------------------------------


def _conflict_error(entries: Sequence[Entry]) -> ConflictError:
    found = [(_manager(entry), path) for entry in entries for path in paths(entry.fields)]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in found
    ]
    if len(found) == 1:
        manager, path = found[0]
        text = f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    else:
        parts = [
            "\n".join([f"conflicts with {manager}:", *(f"- {p}" for m, p in found if m == manager)])
            for manager in sorted({manager for manager, _ in found})
        ]
        text = f"Apply failed with {len(found)} conflicts: {chr(10).join(parts)}"
    return ConflictError(text, causes=causes)


def _manager(entry: Entry) -> str:
    """Return how a conflict names a manager."""
    name = orjson.dumps(entry.manager).decode()
    if entry.subresource:
        name += f" with subresource {orjson.dumps(entry.subresource).decode()}"
    return f"{name} using {entry.api_version}" if entry.operation == UPDATE else name
