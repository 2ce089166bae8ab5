"""Pruning: a custom object keeps what its schema names and nothing else.

Unknown fields are dropped and reported by path; below x-kubernetes-preserve-unknown-fields they
stay, but what is described inside is pruned all the same. The object itself and every embedded
resource keep apiVersion, kind and metadata, and the metadata has the type that all objects share.
The rules are apiextensions-apiserver's `schema/pruning` and `schema/objectmeta`.
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.api import schema
from minikube_py.api.object import Obj
from minikube_py.api.schema_check import check
from minikube_py.api.schema_report import DecodeError

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_HEAD = ("apiVersion", "kind", "metadata")


def prune(root: Obj, obj: Obj) -> tuple[dict[str, Any], list[str]]:
    """Return the object as its schema has it, and the sorted paths of what was dropped.

    Raises:
        DecodeError: the metadata is not of its type.

    """
    unknown: list[str] = []
    pruned = _object(root, obj, "", unknown, head=True)
    return pruned, sorted(unknown)


def _value(node: Obj, value: Any, path: str, unknown: list[str]) -> Any:
    if isinstance(value, Mapping):
        return _object(node, value, path, unknown, head=bool(node.get(EMBEDDED)))
    if isinstance(value, list):
        items = node.get("items")
        if not isinstance(items, Mapping):
            return value
        new = [_value(items, item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
        return value if _same(new, value) else new
    return value


def _same(new: list[Any], old: list[Any]) -> bool:
    return all(a is b for a, b in zip(new, old, strict=True))


def _object(node: Obj, value: Obj, path: str, unknown: list[str], *, head: bool) -> Any:
    out: dict[str, Any] = {}
    changed = False
    for name, inner in value.items():
        below = f"{path}.{name}" if path else name
        if head and name in _HEAD:
            kept = _metadata(inner, below, unknown) if name == "metadata" else inner
        elif (child := _child(node, name)) is not None:
            kept = _value(child, inner, below, unknown)
        elif node.get(PRESERVE):
            kept = inner
        else:
            unknown.append(below)
            changed = True
            continue
        changed = changed or kept is not inner
        out[name] = kept
    return out if changed else value


def _child(node: Obj, name: str) -> Obj | None:
    """Return the schema of a field; an empty one that preserves all where anything goes."""
    found = (node.get("properties") or {}).get(name)
    if found is not None:
        return dict(found)
    others = node.get("additionalProperties")
    if others is True:
        return {PRESERVE: True}
    return others if isinstance(others, Mapping) and not node.get("properties") else None


def _metadata(value: Any, path: str, unknown: list[str]) -> Any:
    """Return metadata without fields that no metadata has; embedded metadata of a wrong type goes.

    Upstream drops what it cannot read of embedded metadata and refuses that of the object.
    """
    if not isinstance(value, Mapping):
        return value
    try:
        checked = check(schema.type_of(OBJECT_META), value)
    except DecodeError:
        if path == "metadata":
            raise
        unknown.append(path)
        return {}
    unknown.extend(f"{path}.{name}" for name in checked.unknown)
    return checked.obj
