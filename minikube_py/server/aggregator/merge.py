"""Discovery and OpenAPI of several servers as if they were one: pure merging of documents.

Groups stand in the order of their priorities, and versions within a group; both are what the
APIServices say (upstream's `SortedByGroupAndVersion`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api.discovery import version_priority
from minikube_py.api.object import Obj

OWN_GROUP = "apiregistration.k8s.io"
"""Always the first: it has no APIService of its own."""
CUSTOM = (1000, 100)
"""The priorities of a custom group whose APIService is still to be made."""
KINDS = ("definitions", "parameters", "responses")
"""What a document refers to by name."""


@dataclass(frozen=True)
class Registered:
    """What an APIService says for the sake of discovery."""

    group: str
    version: str
    group_priority: int
    version_priority: int


class Order:
    """The order of groups and versions."""

    def __init__(self, registered: Iterable[Registered]) -> None:
        self._versions: dict[tuple[str, str], int] = {}
        self._groups: dict[str, tuple[int, str]] = {}
        for item in registered:
            self._versions[item.group, item.version] = item.version_priority
            rank = -item.group_priority, f"{item.version}.{item.group}"
            self._groups[item.group] = min(rank, self._groups.get(item.group, rank))

    def group(self, name: str) -> tuple[int, str]:
        """Return a key that is smaller for groups that come first."""
        if name == OWN_GROUP:
            return (-(1 << 31), "")
        return self._groups.get(name, (-CUSTOM[0], f"v1.{name}"))

    def versions(self, group: str, versions: Iterable[str]) -> list[str]:
        """Return the versions of a group, the preferred one first, each once."""
        return sorted(
            dict.fromkeys(versions),
            key=lambda version: (
                self._versions.get((group, version), CUSTOM[1]),
                version_priority(version),
            ),
            reverse=True,
        )


def group_list(document: Obj, foreign: Sequence[Registered], order: Order) -> Obj:
    """Return `/apis` with the groups and versions of other servers."""
    found: dict[str, list[str]] = {
        group["name"]: [version["version"] for version in group["versions"]]
        for group in document["groups"]
    }
    for item in foreign:
        found.setdefault(item.group, []).append(item.version)
    names = sorted((name for name in found if name), key=order.group)
    return {
        **document,
        "groups": [_group(name, order.versions(name, found[name])) for name in names],
    }


def one_group(
    name: str, document: Obj | None, foreign: Sequence[Registered], order: Order
) -> Obj | None:
    """Return `/apis/<group>` with the versions of other servers, None where nobody has it."""
    own = [version["version"] for version in document["versions"]] if document else []
    versions = [*own, *(item.version for item in foreign if item.group == name)]
    if not versions:
        return None
    head = {"kind": "APIGroup", "apiVersion": "v1"}
    return {**head, **_group(name, order.versions(name, versions))}


def _group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def aggregated(document: Obj, entries: Mapping[tuple[str, str], Obj], order: Order) -> Obj:
    """Return aggregated discovery with the entries of other servers, by group and version."""
    found: dict[str, dict[str, Obj]] = {
        item["metadata"].get("name", ""): {v["version"]: v for v in item["versions"]}
        for item in document["items"]
    }
    for (group, version), entry in entries.items():
        found.setdefault(group, {})[version] = entry
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [found[group][version] for version in order.versions(group, found[group])],
        }
        for group in sorted(found, key=order.group)
    ]
    return {**document, "items": items}


# --- OpenAPI v2 -----------------------------------------------------------------------------------


def openapi_v2(document: Obj, other: Obj, prefix: str) -> Obj:
    """Return a document with what another has below a path, and all that this refers to.

    A name that both have for different things gets a suffix in what is added (`_v2`).
    """
    paths = {
        path: item
        for path, item in (other.get("paths") or {}).items()
        if path == prefix or path.startswith(f"{prefix}/")
    }
    if not paths:
        return document
    merged: dict[str, Any] = dict(document)
    used = _reachable(paths, other)
    renamed = _renamed(document, other, used)
    for kind, names in used.items():
        there = dict(merged.get(kind) or {})
        for name in names:
            new = renamed.get((kind, name), name)
            there[new] = _rewritten(other[kind][name], renamed)
        if names:
            merged[kind] = there
    merged["paths"] = {**document["paths"], **_rewritten(paths, renamed)}
    return merged


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Yield what a value refers to within its document: (kind, name)."""
    stack = [value]
    while stack:
        inner = stack.pop()
        if isinstance(inner, dict):
            reference = inner.get("$ref")
            if isinstance(reference, str) and reference.startswith("#/"):
                kind, _, name = reference[2:].partition("/")
                yield kind, name
            stack.extend(inner.values())
        elif isinstance(inner, list):
            stack.extend(inner)


def _reachable(paths: Obj, other: Obj) -> dict[str, set[str]]:
    used: dict[str, set[str]] = {kind: set() for kind in KINDS}
    queue = list(_references(paths))
    while queue:
        kind, name = queue.pop()
        if kind in used and name not in used[kind] and name in (other.get(kind) or {}):
            used[kind].add(name)
            queue.extend(_references(other[kind][name]))
    return used


def _renamed(document: Obj, other: Obj, used: Mapping[str, set[str]]) -> dict[tuple[str, str], str]:
    renamed = {}
    for kind, names in used.items():
        there = document.get(kind) or {}
        for name in names:
            if name in there and _text(there[name]) != _text(other[kind][name]):
                number = 2
                while f"{name}_v{number}" in there:
                    number += 1
                renamed[kind, name] = f"{name}_v{number}"
    return renamed


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _rewritten(value: Any, renamed: Mapping[tuple[str, str], str]) -> Any:
    """Return the value with references to what was renamed."""
    if not renamed:
        return value
    if isinstance(value, dict):
        changed = {key: _rewritten(inner, renamed) for key, inner in value.items()}
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            kind, _, name = reference[2:].partition("/")
            changed["$ref"] = f"#/{kind}/{renamed.get((kind, name), name)}"
        return changed
    return [_rewritten(inner, renamed) for inner in value] if isinstance(value, list) else value
