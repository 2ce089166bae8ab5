"""JSON patch (RFC 6902): a list of operations on paths, all or none.

Behaves as the library in the API server of Kubernetes (evanphx/json-patch, version 4), which
differs from the RFC: an index may be negative and counts from the end, the empty path is
refused, and a map answers null for a key that it has not, so that `replace` adds it and `test`
for null succeeds.

A patch of many operations would copy the same containers again and again; so a container is
copied at its first change and is changed in place from then on. The arguments stay untouched.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from minikube_py.api.object import Obj
from minikube_py.api.patch.errors import (
    InapplicablePatchError,
    MalformedPatchError,
    PatchTestError,
    PatchTooLargeError,
    go_type,
)
from minikube_py.api.patch.merge_patch import same

OPERATIONS_MAX = 10_000
"""Operations in one patch (apiserver's maxJSONPatchOperations)."""
COPIED_BYTES_MAX = 3 * 1024 * 1024
"""What all `copy` operations of a patch may add (apiserver's JSONPatchMaxCopyBytes): a few
operations could otherwise double an object until memory ends."""
DEPTH_MAX = 200
"""Steps of a path; no document that can be encoded is deeper."""

_INDEX = re.compile(r"[+-]?[0-9]+", re.ASCII)
_PLACES = {
    ("copy", "from"): "from path",
    ("copy", "path"): "destination path",
    ("move", "from"): "from path",
    ("move", "path"): "destination path",
}
"""What messages call a path that leads nowhere; "path" for other operations."""
_STRUCT = "Go struct field jsonPatchOp"


def apply(obj: Obj, patch: Any) -> dict[str, Any]:
    """Return the object with all operations carried out in order.

    Raises:
        MalformedPatchError: the document is not a list of operations.
        PatchTooLargeError: there are too many.
        InapplicablePatchError: an operation does not fit the object.

    """
    _check(patch)
    draft = _Draft(obj)
    try:
        for operation in patch or ():
            draft.do(operation)
    except RecursionError as error:
        raise InapplicablePatchError("exceeded max depth") from error
    return draft.root


def unknown_fields(patch: Sequence[Obj]) -> list[str]:
    """Return what strict field validation objects to, in upstream's words."""
    known = ("op", "path", "from", "value")
    return [
        f'json patch unknown field "[{number}].{name}"'
        for number, operation in enumerate(patch)
        for name in operation
        if name not in known
    ]


def _check(patch: Any) -> None:
    if patch is None:
        return
    if not isinstance(patch, list | tuple):
        raise _undecodable(patch, "Go value of type []handlers.jsonPatchOp")
    for operation in patch:
        if not isinstance(operation, Mapping):
            raise _undecodable(operation, "Go value of type handlers.jsonPatchOp")
        for name in ("op", "path", "from"):
            value = operation.get(name)
            if not isinstance(value, str | None):
                raise _undecodable(value, f"{_STRUCT}.{name} of type string")
    if len(patch) > OPERATIONS_MAX:
        raise PatchTooLargeError(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(patch)}"
        )


def _undecodable(value: Any, target: str) -> MalformedPatchError:
    return MalformedPatchError(
        f"error decoding patch: json: cannot unmarshal {go_type(value)} into {target}"
    )


class _Draft:
    """The document while it is patched."""

    def __init__(self, obj: Obj) -> None:
        self.root: dict[str, Any] = dict(obj)
        self._own: dict[int, Any] = {id(self.root): self.root}
        """Containers that were made here and may be changed; held so that no id is reused."""
        self._copied_bytes = 0

    def do(self, operation: Obj) -> None:
        match operation.get("op") or "unknown":
            case "add":
                place = self._find(operation, "path")
                with _about(f"error in add for path: '{operation['path']}'"):
                    self._add(*place, operation.get("value"))
            case "remove":
                place = self._find(operation, "path")
                with _about(f"error in remove for path: '{operation['path']}'"):
                    self._remove(*place)
            case "replace":
                self._replace(*self._find(operation, "path"), operation.get("value"))
            case "move":
                container, key = self._find(operation, "from")
                value = _get(container, key)
                self._remove(container, key)
                self._add(*self._find(operation, "path"), value)
            case "copy":
                value = self._copy(_get(*self._find(operation, "from")))
                self._add(*self._find(operation, "path"), value)
            case "test":
                self._test(operation)
            case kind:
                raise InapplicablePatchError(f"Unexpected kind: {kind}")

    def _find(self, operation: Obj, name: str) -> tuple[Any, str]:
        """Return the container that a path ends in, ready to be changed, and the last key."""
        kind, path = operation["op"], operation.get(name)
        if path is None:
            raise InapplicablePatchError(f"{kind} operation failed to decode {name}")
        what = _PLACES.get((kind, name), "path")
        shown = f'"{path}"' if kind in {"add", "remove"} else path
        missing = InapplicablePatchError(
            f"{kind} operation does not apply: doc is missing {what}: {shown}: missing value"
        )
        keys = path.split("/")
        if not 2 <= len(keys) <= DEPTH_MAX:
            raise missing
        container: Any = self.root
        for key in map(_unescape, keys[1:-1]):
            try:
                container = self._owned(container, key)
            except InapplicablePatchError:
                raise missing from None
            if container is None:
                raise missing
        return container, _unescape(keys[-1])

    def _owned(self, container: Any, key: str) -> Any:
        """Return the container below, as one that may be changed; None if there is none."""
        below = _get(container, key)
        if id(below) in self._own:
            return below
        if isinstance(below, Mapping):
            below = dict(below)
        elif isinstance(below, list | tuple):
            below = list(below)
        else:
            return None
        self._own[id(below)] = below
        if isinstance(container, list):
            container[_index(key, len(container))] = below
        else:
            container[key] = below
        return below

    def _add(self, container: Any, key: str, value: Any) -> None:
        if not isinstance(container, list):
            container[key] = value
        elif key == "-":
            container.append(value)
        else:
            container.insert(_index(key, len(container) + 1), value)

    def _remove(self, container: Any, key: str) -> None:
        if isinstance(container, list):
            del container[_index(key, len(container))]
        elif key in container:
            del container[key]
        else:
            raise InapplicablePatchError(f"Unable to remove nonexistent key: {key}: missing value")

    def _replace(self, container: Any, key: str, value: Any) -> None:
        if isinstance(container, list):
            container[_index(key, len(container))] = value
        else:
            container[key] = value

    def _copy(self, value: Any) -> Any:
        """Return a tree of its own, so that a later change in one place shows in one place."""
        try:
            data = orjson.dumps(value)
        except orjson.JSONEncodeError as error:
            raise InapplicablePatchError(str(error)) from error
        self._copied_bytes += len(data)
        if self._copied_bytes > COPIED_BYTES_MAX:
            raise InapplicablePatchError(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self._copied_bytes}, exceeding the limit {COPIED_BYTES_MAX}"
            )
        return orjson.loads(data)

    def _test(self, operation: Obj) -> None:
        found = _get(*self._find(operation, "path"))
        if not same(found, operation.get("value")):
            raise PatchTestError(f"testing value {operation.get('path')} failed")


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say what was being done when something did not apply."""
    try:
        yield
    except InapplicablePatchError as error:
        raise InapplicablePatchError(f"{what}: {error.cause}") from error


def _get(container: Any, key: str) -> Any:
    if isinstance(container, list):
        return container[_index(key, len(container))]
    return container.get(key)


def _index(key: str, end: int) -> int:
    if not _INDEX.fullmatch(key):
        raise InapplicablePatchError(f"value was not a proper array index: '{key}'")
    index = int(key) if len(key) <= len(str(COPIED_BYTES_MAX)) + 1 else end
    if not -end <= index < end:
        raise InapplicablePatchError(
            f"Unable to access invalid index: {key}: invalid array index detected"
        )
    return index if index >= 0 else index + end


def _unescape(key: str) -> str:
    return key.replace("~1", "/").replace("~0", "~") if "~" in key else key
