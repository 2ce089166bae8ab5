"""What the expression of a mutation gives, turned into a change of an object."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.apply_merge import merge
from minikube_py.api.apply_typed import problems
from minikube_py.api.cel.conversion import to_json
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.values import Message
from minikube_py.api.field_walks import child
from minikube_py.api.object import Obj
from minikube_py.api.patch import json_patch
from minikube_py.api.patch.errors import InapplicablePatchError, PatchTestError
from minikube_py.api.patch.errors import PatchError as DocumentError
from minikube_py.api.resource import Resource
from minikube_py.api.schema import Type
from minikube_py.api.schema_check import check
from minikube_py.api.schema_report import DecodeError


class PatchError(Exception):
    """A mutation gave what cannot be applied."""


def applied(kind: Type, obj: Obj, value: Any) -> Obj:
    """Return the object with an apply configuration merged into it.

    Raises:
        PatchError: the configuration does not fit the kind, or would replace an atomic field.

    """
    _check_names(value)
    patch = _plain(value)
    patch = {**patch, "apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    found = list(problems(kind, patch))
    if found:
        text = found[0] if len(found) == 1 else "\n  ".join(["errors:", *found])
        raise PatchError(
            f"error applying patch: failed to convert patch object to typed object: {text}"
        )
    atomic = list(_atomics(kind, patch, ""))
    if atomic:
        raise PatchError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps "
            f"or structs: {', '.join(atomic)}"
        )
    return merge(kind, obj, patch)


def _atomics(kind: Type, value: Any, path: str) -> Iterator[str]:
    """Yield the paths of fields that can be replaced only as a whole."""
    if isinstance(value, Mapping) and kind.kind in ("object", "map", "any"):
        if kind.kind != "any" and kind.map_type == "atomic":
            yield path
        for name, inner in value.items():
            node = child(kind, name) if kind.kind != "any" else None
            if node is not None and kind.kind == "object":
                yield from _atomics(node, inner, f"{path}.{name}")
    elif isinstance(value, list | tuple) and kind.kind == "list":
        if kind.list_type == "atomic":
            yield path
        for index, inner in enumerate(value):
            yield from _atomics(kind.items, inner, f"{path}[{index}]")


def patched(kind: Type, obj: Obj, value: Any) -> Obj:
    """Return the object with a list of JSONPatch values carried out; itself where a test fails.

    Raises:
        PatchError: an operation cannot be carried out.

    """
    del kind
    operations = [_operation(each) for each in value]
    try:
        return json_patch.apply(obj, operations)
    except PatchTestError:
        return obj
    except InapplicablePatchError as error:
        raise PatchError(f"JSON Patch: {error.cause}") from error
    except DocumentError as error:
        raise PatchError(f"JSON Patch: {error}") from error


def _operation(value: Any) -> Obj:
    if not isinstance(value, Message):
        raise PatchError(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch"
        )
    if isinstance(value.get("value"), Message):
        _check_names(value["value"])
    return _plain(value)


def _plain(value: Any) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = to_json(value)
    except CelEvaluationError as error:
        text = (
            f"JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}"
        )
        raise PatchError(text) from error
    return plain


def _check_names(value: Any) -> None:
    """Check that types are named after the fields where their values stand."""
    if isinstance(value, Message):
        found = list(_misnamed(value, [value.type_name]))
        if found:
            raise PatchError("type mismatch: " + "\n".join(found))


def _misnamed(value: Any, path: Sequence[str]) -> Iterator[str]:
    if isinstance(value, Message):
        expected = ".".join(path)
        if expected != value.type_name:
            yield (
                f'unexpected type name "{value.type_name}", expected "{expected}", which matches '
                "field name path from root Object type"
            )
        for name, inner in value.items():
            yield from _misnamed(inner, [*path, name])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _misnamed(inner, path)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _misnamed(inner, path)


def defaulted(resource: Resource, obj: Obj) -> Obj:
    """Return a changed object as a body would be decoded: checked, with the defaults of its kind.

    Raises:
        PatchError: it is no object of the kind.

    """
    if obj.get("kind") != resource.kind or resource.type is None:
        return obj
    try:
        if resource.prune is not None:
            fitted: Obj = resource.prune(obj)[0]
        else:
            fitted = check(resource.type, obj).obj
    except DecodeError as error:
        raise PatchError(str(error)) from error
    return resource.default(fitted)
