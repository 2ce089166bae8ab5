"""What stands in the manifests folder: pure, apart from reading it.

A file ends in .yaml, .yml or .json and may hold several documents and lists. The rules beside that
are k3s': a name that begins with a dot is left alone, so is a file beside which `NAME.skip` stands,
and what --disable names (a file without its ending, or a folder) is taken out of the cluster.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from minikube_py.api.object import Obj
from minikube_py.lib.fsutil import read_if_there, write_atomic

ENDINGS = (".yaml", ".yml", ".json")
SKIP = ".skip"
IDENTITY = ".identity"
BYTES_MAX = 16 << 20
"""A larger file is a mistake: no object is stored that is."""
SETTLED_SECONDS = 1.0
"""A file that was written within so long may not be whole yet."""


@dataclass(frozen=True)
class Document:
    """One object of a file."""

    file: str
    """Below the folder, with slashes."""
    number: int
    """Which document of the file, from 1."""
    obj: Obj


@dataclass(frozen=True)
class Source:
    """What is known of one file."""

    file: str
    checksum: str = ""
    documents: Sequence[Document] = ()
    problems: Sequence[str] = ()
    """Why documents cannot be read; while there are any, nothing of the file is pruned."""
    kept: bool = False
    """Whether all that the file has brought stays as it is: skipped, or not written to its end."""


@dataclass(frozen=True)
class Folder:
    """The files of the folder, by name; what `Source` says of one that is not there is nothing."""

    sources: Sequence[Source] = ()
    folders: Sequence[Path] = ()
    """The folder and all below it."""
    young: bool = False
    """Whether there are files to look at again when they have settled."""
    unseen: Sequence[str] = field(default=())
    """Folders that cannot be read: what comes from below them stays."""


def read(root: Path, disabled: Iterable[str], now: float) -> Folder:
    """Read the whole folder; `now` is the wall time in seconds since the epoch."""
    off, sources, young = frozenset(disabled), [], False
    folders, unseen = [root], list[str]()
    waiting = [root]
    while waiting:
        here = waiting.pop()
        try:
            entries = sorted(here.iterdir())
        except OSError:
            unseen.append(here.relative_to(root).as_posix())
            continue
        below = [one for one in entries if is_folder(one)]
        folders += below
        waiting += below
        for path in entries:
            if is_manifest(path):
                source = _source(root, path, off, now)
                young = young or (source.kept and not _is_skipped(path))
                sources.append(source)
    return Folder(sorted(sources, key=lambda s: s.file), folders, young, unseen)


def identity(root: Path) -> str:
    """Return what tells a folder from those of other servers; made where it is not there yet."""
    path = root / IDENTITY
    found = read_if_there(path)
    if not found:
        found = str(uuid.uuid4()).encode()
        write_atomic(path, found, 0o600)
    return found.decode()


def is_folder(path: Path) -> bool:
    """Whether to look into a path; links are not followed, because they may lead back."""
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def is_manifest(path: Path) -> bool:
    """Whether a path is that of a manifest; a link that leads nowhere is one that is unreadable."""
    if path.suffix not in ENDINGS or path.name.startswith("."):
        return False
    return path.is_file() or (path.is_symlink() and not path.exists())


def is_disabled(file: str, disabled: Iterable[str]) -> bool:
    """Whether --disable names a file, by its own name or that of a folder that it is in."""
    path = PurePath(file)
    return not {*path.parts[:-1], path.stem}.isdisjoint(disabled)


def _is_skipped(path: Path) -> bool:
    return path.with_name(f"{path.name}{SKIP}").exists()


def _source(root: Path, path: Path, disabled: frozenset[str], now: float) -> Source:
    file = path.relative_to(root).as_posix()
    if is_disabled(file, disabled):
        return Source(file)
    if _is_skipped(path):
        return Source(file, kept=True)
    try:
        facts = path.stat()
        if facts.st_size > BYTES_MAX:
            return Source(file, problems=(f"larger than {BYTES_MAX} bytes",))
        if abs(now - facts.st_mtime) < SETTLED_SECONDS:
            return Source(file, kept=True)
        data = path.read_bytes()
    except OSError as error:
        return Source(file, problems=(f"cannot be read: {error.strerror}",))
    documents, problems = parse(file, data)
    return Source(file, hashlib.sha256(data).hexdigest(), documents, problems)


def parse(file: str, data: bytes) -> tuple[list[Document], list[str]]:
    """Return the objects of a file, and what is wrong with it."""
    documents: list[Document] = []
    problems: list[str] = []
    try:
        for number, found in enumerate(yaml.load_all(data, Loader=_LOADER), 1):
            if found is None:
                continue
            for obj in _objects(found):
                trouble = _trouble(obj)
                if trouble:
                    problems.append(f"document {number}: {trouble}")
                else:
                    documents.append(Document(file, number, obj))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        problems.append(f"not valid YAML: {' '.join(str(error).split())}")
    return documents, problems


_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _LOADER(_BASE):  # type: ignore[misc, valid-type]
    """Reads YAML as it is meant in manifests: times stay text."""


_LOADER.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in _BASE.yaml_implicit_resolvers.items()
}


def _objects(found: Any) -> Iterator[Any]:
    """Yield a document, or what it lists."""
    if isinstance(found, dict) and str(found.get("kind", "")).endswith("List"):
        items = found.get("items")
        if isinstance(items, list):
            yield from items
            return
    yield found


def _trouble(obj: Any) -> str:
    if not isinstance(obj, dict):
        return f"is no object but {type(obj).__name__}"
    for name in ("apiVersion", "kind"):
        if not isinstance(obj.get(name), str) or not obj[name]:
            return f"has no {name}"
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return "has no metadata.name"
    if not isinstance(metadata.get("namespace", ""), str):
        return "has a metadata.namespace that is no text"
    return ""
