"""Config maps: settings as text or bytes."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.lib import patience

SIZE_MAX: Final = 1024 * 1024
"""Bytes of all values of a config map or a secret together."""
IMMUTABLE: Final = "field is immutable when `immutable` is set"


KEYS_AT_ONCE = 512
"""Keys that are checked between two looks at the clock."""


def decoded_size(text: str) -> int:
    """Return how many bytes a value in base64 is."""
    return len(base64.b64decode(text))


def validate(config_map: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated config map."""
    if old is not None and old.get("immutable"):
        yield from validate_immutable(config_map, old, ("data", "binaryData"))
    data: Mapping[str, str] = config_map.get("data") or {}
    binary: Mapping[str, str] = config_map.get("binaryData") or {}
    size = 0
    for count, (key, value) in enumerate(data.items()):
        if count % KEYS_AT_ONCE == 0:
            patience.check()
        if messages := names.config_map_key(key):
            yield from _wrong_key(key, messages, "data")
        if key in binary:
            yield Field("data")[key].invalid(key, "duplicate of key present in binaryData")
        size += len(value) if value.isascii() else len(value.encode())
    for key, value in binary.items():
        yield from _wrong_key(key, names.config_map_key(key), "binaryData")
        size += decoded_size(value)
    if size > SIZE_MAX:
        yield Field("[]").too_long(SIZE_MAX)


def validate_immutable(new: Obj, old: Obj, keys: Sequence[str]) -> Iterator[FieldError]:
    """Report changes of what its author declared immutable."""
    if not new.get("immutable"):
        yield Field("immutable").forbidden(IMMUTABLE)
    for key in keys:
        if (new.get(key) or {}) != (old.get(key) or {}):
            yield Field(key).forbidden(IMMUTABLE)


def _wrong_key(key: str, messages: Iterable[str], field: str) -> Iterable[FieldError]:
    return [Field(field)[key].invalid(key, message) for message in messages]


def cells(config_map: Obj) -> Sequence[Any]:
    """Return name, number of keys and age."""
    count = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    metadata = config_map["metadata"]
    return metadata["name"], count, Age(metadata.get("creationTimestamp"))


CONFIGMAPS = Resource(
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    schema="io.k8s.api.core.v1.ConfigMap",
    columns=(NAME, Column("Data"), AGE),
    cells=cells,
    validate=validate,
    metadata_checks=("update", "create"),
)
