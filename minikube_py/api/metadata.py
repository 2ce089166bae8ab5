"""The metadata that every object has: what the server fills in and what is checked.

The rules are those of apimachinery's `api/validation/objectmeta.go` and of the generic registry's
`BeforeCreate` and `BeforeUpdate`. Built-in kinds check finalizers once more than custom ones do,
and an update is checked by the registry and once more by the kind, so that an error of metadata
stands several times among the causes of the answer; clients that compare answers see that too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError, quote
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource

ANNOTATIONS_MAX: Final = 256 * 1024
"""Bytes that the keys and values of all annotations may have together."""
MANAGER_MAX: Final = 128
"""Bytes of the name of a field manager."""
GENERATED_NAME_MAX: Final = 63
"""Length that a generated name is cut to, its suffix included (apiserver `storage/names`)."""
SUFFIX_LENGTH: Final = 5
"""Random characters that a generateName gets."""
SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of the suffix: no vowels and nothing that looks like one, so no words arise."""

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", ORPHAN, FOREGROUND})

METADATA: Final = Field.kept("metadata")
_IMMUTABLE: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
SET_ON_CREATE: Final = frozenset({
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
})  # fmt: skip
"""What a creator may give and the server decides."""
_SET_BY_SERVER: Final = ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def generated_name(prefix: str, suffix: str) -> str:
    """Return the name made of a generateName and a random suffix."""
    return f"{prefix[: GENERATED_NAME_MAX - SUFFIX_LENGTH]}{suffix}"


def prepare_for_create(metadata: Obj, *, uid: str, now: str, suffix: str) -> dict[str, Any]:
    """Return the metadata with what the server sets on create.

    `now` is a timestamp in RFC 3339; `suffix` is used where only generateName is given.
    """
    prepared = {key: value for key, value in metadata.items() if key not in _SET_BY_SERVER}
    prepared["uid"] = uid
    prepared["creationTimestamp"] = now
    if not prepared.get("name") and prepared.get("generateName"):
        prepared["name"] = generated_name(prepared["generateName"], suffix)
    return prepared


def prepare_for_update(new: Obj, old: Obj) -> dict[str, Any]:
    """Return the new metadata with what an update cannot change or leave out."""
    prepared = dict(new)
    if not prepared.get("uid"):
        prepared["uid"] = old.get("uid", "")
    for key in ("creationTimestamp", "deletionTimestamp", "generation"):
        if old.get(key) is not None:
            prepared[key] = old[key]
        elif key == "generation":
            prepared.pop(key, None)
    grace = old.get("deletionGracePeriodSeconds")
    if grace is not None and prepared.get("deletionGracePeriodSeconds") is None:
        prepared["deletionGracePeriodSeconds"] = grace
    return prepared


def validate_create(obj: Obj, resource: Resource, *, custom: bool = False) -> Iterator[FieldError]:
    """Report what is wrong with the metadata of a new object; `custom` is a kind of a CRD."""
    metadata = obj.get("metadata") or {}
    check = resource.validate_name or names.dns1123_subdomain
    yield from _validate_names(metadata, check)
    yield from _validate_beside_name(metadata, namespaced=resource.namespaced)
    if not custom:
        yield from _validate_standard_finalizers(metadata.get("finalizers") or ())


def validate_update(
    new: Obj,
    old: Obj,
    resource: Resource,
    *,
    custom: bool = False,
    checks: tuple[str, ...] | None = None,
) -> Iterator[FieldError]:
    """Report what is wrong with the metadata of an update.

    `checks` is `Resource.metadata_checks`, or `Subresource.metadata_checks` in its place.
    """
    metadata = new["metadata"]
    beside_name = tuple(_validate_beside_name(metadata, namespaced=resource.namespaced))
    updated = tuple(_validate_update(metadata, old["metadata"]))
    yield from _validate_names(metadata, names.path_segment)
    yield from beside_name
    yield from updated
    finalizers = () if custom else metadata.get("finalizers") or ()
    for check in resource.metadata_checks if checks is None else checks:
        if check == "update":
            yield from updated
        else:
            yield from _validate_names(metadata, resource.validate_name or names.dns1123_subdomain)
            yield from beside_name
        yield from _validate_standard_finalizers(finalizers)


def _validate_beside_name(metadata: Obj, *, namespaced: bool) -> Iterator[FieldError]:
    yield from _validate_namespace(metadata, namespaced=namespaced)
    if (generation := metadata.get("generation") or 0) < 0:
        yield (METADATA / "generation").invalid(generation, NOT_NEGATIVE)
    yield from _validate_common(metadata)
    if finalizers := metadata.get("finalizers"):
        yield from _validate_finalizers(finalizers)
    yield from _validate_managed_fields(metadata.get("managedFields") or ())


NOT_NEGATIVE: Final = "must be greater than or equal to 0"


def _validate_names(metadata: Obj, check: Callable[[str], Iterable[str]]) -> Iterator[FieldError]:
    if generate_name := metadata.get("generateName"):
        for message in check(names.as_prefix(generate_name)):
            yield (METADATA / "generateName").invalid(generate_name, message)
    name = metadata.get("name")
    if not name:
        yield (METADATA / "name").required("name or generateName is required")
        return
    for message in check(name):
        yield (METADATA / "name").invalid(name, message)


def _validate_namespace(metadata: Obj, *, namespaced: bool) -> Iterator[FieldError]:
    namespace = metadata.get("namespace")
    if not namespaced:
        if namespace:
            yield (METADATA / "namespace").forbidden("not allowed on this type")
    elif not namespace:
        yield (METADATA / "namespace").required()
    else:
        for message in names.dns1123_label(namespace):
            yield (METADATA / "namespace").invalid(namespace, message)


def _validate_update(new: Obj, old: Obj) -> Iterator[FieldError]:
    if old.get("deletionTimestamp") is not None:
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            shown = ", ".join(map(quote, extra))
            yield (METADATA / "finalizers").forbidden(
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{shown}}}"
            )
    generation = new.get("generation") or 0
    if generation < (old.get("generation") or 0):
        yield (METADATA / "generation").invalid(generation, "must not be decremented")
    for key in _IMMUTABLE:
        if (new.get(key) or None) != (old.get(key) or None):
            yield (METADATA / key).immutable(new.get(key))
    yield from _validate_common(new)
    yield from _validate_managed_fields(new.get("managedFields") or ())


def _validate_common(metadata: Obj) -> Iterator[FieldError]:
    if labels := metadata.get("labels"):
        yield from validate_labels(labels, METADATA / "labels")
    if annotations := metadata.get("annotations"):
        yield from validate_annotations(annotations, METADATA / "annotations")
    if references := metadata.get("ownerReferences"):
        yield from validate_owner_references(references, METADATA / "ownerReferences")


def validate_labels(labels: Mapping[str, str], path: Field) -> Iterator[FieldError]:
    """Report keys and values that labels may not have."""
    for key, value in labels.items():
        for message in names.qualified_name(key):
            yield path.invalid(key, message)
        for message in names.label_value(value):
            yield path.invalid(value, message)


def validate_annotations(annotations: Mapping[str, str], path: Field) -> Iterator[FieldError]:
    """Report keys that annotations may not have, and too much text."""
    size = 0
    for key, value in annotations.items():
        for message in names.qualified_name(key.lower()):
            yield path.invalid(key, message)
        size += _bytes(key) + _bytes(value)
    if size > ANNOTATIONS_MAX:
        yield path.too_long(ANNOTATIONS_MAX)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def validate_owner_references(references: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report incomplete references, and more than one controller."""
    first = ""
    for reference in references:
        yield from _validate_owner_reference(reference, path)
        if not reference.get("controller"):
            continue
        this = f"{reference.get('kind', '')}/{reference.get('name', '')}"
        if first:
            yield path.invalid(
                references,
                "Only one reference can have Controller set to true. "
                f'Found "true" in references for {first} and {this}',
            )
        else:
            first = this


def _validate_owner_reference(reference: Obj, path: Field) -> Iterator[FieldError]:
    api_version = reference.get("apiVersion") or ""
    kind = reference.get("kind") or ""
    if not api_version.rpartition("/")[2]:
        yield (path / "apiVersion").invalid(api_version, "version must not be empty")
    for key in ("kind", "name", "uid"):
        if not reference.get(key):
            yield (path / key).invalid(reference.get(key) or "", "must not be empty")
    if api_version == "v1" and kind == "Event":
        yield path.invalid(reference, "/v1, Kind=Event is disallowed from being an owner")


def _validate_finalizers(finalizers: Sequence[str]) -> Iterator[FieldError]:
    for finalizer in finalizers:
        for message in names.qualified_name(finalizer):
            yield (METADATA / "finalizers").invalid(finalizer, message)
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        yield (METADATA / "finalizers").invalid(
            finalizers, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        )


def _validate_standard_finalizers(finalizers: Sequence[str]) -> Iterator[FieldError]:
    for index, finalizer in enumerate(finalizers):
        yield from validate_finalizer_name(finalizer, (METADATA / "finalizers")[index])


def validate_finalizer_name(finalizer: str, path: Field) -> Iterable[FieldError]:
    """Report a finalizer without a domain that is none of Kubernetes' own."""
    if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        yield path.invalid(
            finalizer, "name is neither a standard finalizer name nor is it fully qualified"
        )


def _validate_managed_fields(entries: Sequence[Obj]) -> Iterator[FieldError]:
    for index, entry in enumerate(entries):
        operation = entry.get("operation") or ""
        kind = entry.get("fieldsType") or ""
        if operation in {"Apply", "Update"} and kind in {"", "FieldsV1"}:
            continue
        path = (METADATA / "managedFields")[index]
        if operation not in {"Apply", "Update"}:
            yield (path / "operation").invalid(operation, "must be `Apply` or `Update`")
        if kind not in {"", "FieldsV1"}:
            yield (path / "fieldsType").invalid(kind, "must be `FieldsV1`")
        yield from validate_field_manager(entry.get("manager") or "", path / "manager")


def validate_field_manager(manager: str, path: Field) -> Iterator[FieldError]:
    """Report the name of a field manager that is too long or cannot be printed."""
    if _bytes(manager) > MANAGER_MAX:
        yield path.too_long(MANAGER_MAX)
    if manager.isprintable():
        return
    position = 0
    for char in manager:
        if not char.isprintable():
            shown = f"U+{ord(char):04X}"
            yield path.invalid(manager, f"invalid character {shown} (at position {position})")
        position += _bytes(char)
