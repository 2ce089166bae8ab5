"""What changed between two versions of an object, for people. Pure.

Fields that change with every write and say nothing about what was meant are left out: they are
the server's own bookkeeping.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api import yaml

Document = Mapping[str, Any]
NOISE = ("managedFields", "resourceVersion", "generation", "uid", "selfLink")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
PATHS_SHOWN_MAX = 4
RED, GREEN, CYAN, PLAIN = "\033[31m", "\033[32m", "\033[36m", "\033[0m"


def without_noise(obj: Document | None) -> Document:
    """Return an object without what the server keeps for itself."""
    if obj is None:
        return {}
    metadata = {key: value for key, value in obj["metadata"].items() if key not in NOISE}
    annotations = {k: v for k, v in metadata.pop("annotations", {}).items() if k != LAST_APPLIED}
    if annotations:
        metadata["annotations"] = annotations
    return {**obj, "metadata": metadata}


def changed_paths(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the fields that differ."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from changed_paths(old.get(key), new.get(key), f"{path}.{_step(key)}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from changed_paths(before, after, f"{path}[{n}]")
    else:
        yield path.removeprefix(".")


def _step(key: str) -> str:
    return f'"{key}"' if "." in key or "/" in key else key


def summary(item: Document, before: Document | None) -> str:
    """Return in a few words what a write changed."""
    if "error" in item:
        return f"({item['error']})"
    if item["event"] != "Updated":
        return ""
    if before is None or "object" not in before:
        return "(what was before is not kept)"
    old, new = without_noise(before["object"]), without_noise(item["object"])
    paths = list(changed_paths(old, new))
    more = f" and {len(paths) - PATHS_SHOWN_MAX} more" if len(paths) > PATHS_SHOWN_MAX else ""
    return ", ".join(paths[:PATHS_SHOWN_MAX]) + more or "(nothing that is shown)"


def manager(item: Document, before: Document | None) -> str:
    """Return the field managers whose entries a write changed."""
    old = _managers(before)
    found = [m for m in _managers(item) if m not in old]
    return ",".join(sorted({str(one.get("manager", "")) for one in found}))


def _managers(item: Document | None) -> Sequence[Document]:
    fields = ((item or {}).get("object") or {}).get("metadata", {}).get("managedFields")
    return fields or ()


def difference(item: Document, before: Document | None) -> list[str]:
    """Return what a write changed as a unified diff of YAML."""
    old = _lines(before)
    new = [] if item["event"] == "Deleted" else _lines(item)
    name_old = f"revision {before['revision']}" if before is not None else "nothing"
    lines = difflib.unified_diff(
        old, new, name_old, f"revision {item['revision']} ({item['event']})", lineterm=""
    )
    return list(lines)


def _lines(item: Document | None) -> list[str]:
    obj = (item or {}).get("object")
    return yaml.dump(without_noise(obj)).decode().splitlines() if obj else []


def coloured(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a diff in the colours that git has for them."""
    for line in lines:
        colour = {"+": GREEN, "-": RED, "@": CYAN}.get(line[:1])
        yield f"{colour}{line}{PLAIN}" if colour else line


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows in columns, as kubectl sets them."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "   ".join(cells).rstrip()
