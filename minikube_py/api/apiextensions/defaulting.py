"""Defaulting of custom objects: what a schema says stands where the writer says nothing.

A null in a field that is not nullable is no value: it goes first, and the default takes its
place. The rules are apiextensions-apiserver's `schema/defaulting`.
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.object import Obj


def default(root: Obj, obj: Obj) -> Obj:
    """Return the object with the defaults of its schema; the same object where none is due."""
    done: Obj = _value(root, obj)
    return done


def _value(node: Obj, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _object(node, value)
    if isinstance(value, list) and isinstance(items := node.get("items"), Mapping):
        new = [_value(items, _element(items, item)) for item in value]
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new
    return value


def _element(node: Obj, value: Any) -> Any:
    """Return what stands for an element of a list or map; null gives way to a default."""
    return node["default"] if value is None and _refuses_null(node) and "default" in node else value


def _refuses_null(node: Obj) -> bool:
    return not node.get("nullable") and not (
        node.get("x-kubernetes-preserve-unknown-fields") and not node.get("type")
    )


def _object(node: Obj, value: Obj) -> Obj:
    properties: Mapping[str, Obj] = node.get("properties") or {}
    out: dict[str, Any] = {}
    for name, inner in value.items():
        child = properties.get(name)
        if child is not None:
            if inner is not None or not _refuses_null(child):
                out[name] = _value(child, inner)
        else:
            out[name] = _other(node, inner)
    for name, child in properties.items():
        if name not in out and child.get("default") is not None:
            out[name] = _value(child, child["default"])
    if len(out) == len(value) and all(value.get(name) is inner for name, inner in out.items()):
        return value
    return out


def _other(node: Obj, value: Any) -> Any:
    others = node.get("additionalProperties")
    return _value(others, _element(others, value)) if isinstance(others, Mapping) else value
