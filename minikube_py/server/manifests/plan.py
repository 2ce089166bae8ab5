"""What the folder asks of the cluster: pure.

Nothing is remembered but in the objects themselves. Each that was applied carries a label with the
name of its file, and an Apply entry of our field manager: what has both is ours to look after,
so that a copy somebody makes of it is not. An object that was there before is marked as adopted:
when its document goes, we give up our fields and leave it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api.object import Obj, annotations_of, get, labels_of
from minikube_py.api.resource import Resource
from minikube_py.server.manifests.files import Document, Folder

MANAGER = "kpy-manifests"
FILE = "manifests.kpy.dev/file"
"""Label: the file, shortened to what a label may hold."""
FOLDER = "manifests.kpy.dev/folder"
"""Annotation: whose folder it was, where several servers have one each."""
ADOPTED = "manifests.kpy.dev/adopted"
"""Annotation of objects that others had made: they are not deleted."""
LABEL_MAX = 63
LAST = ("CustomResourceDefinition", "Namespace")
"""Kinds that take others with them are pruned after these."""


def label_of(file: str) -> str:
    """Return what the label says of a file; different files have different ones."""
    digest = hashlib.sha256(file.encode()).hexdigest()[:10]
    short = re.sub(r"[^A-Za-z0-9_.-]+", "-", file).strip("-_.")[: LABEL_MAX - 11].strip("-_.")
    return f"{short}-{digest}" if short else digest


def configuration(
    document: Document, namespace: str, folder: str, *, adopted: bool
) -> dict[str, Any]:
    """Return what is applied for a document; `folder` is the identity of its folder."""
    metadata = dict(document.obj["metadata"])
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), FILE: label_of(document.file)}
    notes = {FOLDER: folder, ADOPTED: "true"} if adopted else {FOLDER: folder}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}
    return {**document.obj, "metadata": metadata}


def is_ours(obj: Obj) -> bool:
    """Whether we have applied an object, and not only somebody a copy of it."""
    return FILE in labels_of(obj) and _managed(obj)


def _managed(obj: Obj) -> bool:
    entries = get(obj, "metadata.managedFields") or ()
    return any(e.get("manager") == MANAGER and e.get("operation") == "Apply" for e in entries)


def is_of(obj: Obj, folder: str) -> bool:
    """Whether an object of ours comes from that folder, and not from another server's."""
    return is_ours(obj) and annotations_of(obj).get(FOLDER) == folder


def was_made_by_others(obj: Obj) -> bool:
    """Whether an object that we have just applied for the first time had been there before."""
    entries = get(obj, "metadata.managedFields") or ()
    return any(entry.get("manager") != MANAGER for entry in entries)


def is_adopted(obj: Obj) -> bool:
    """Whether an object is to be left when its document goes."""
    return ADOPTED in annotations_of(obj)


@dataclass(frozen=True)
class Target:
    """One object of the cluster."""

    resource: Resource
    namespace: str
    name: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """The same for all versions of a kind."""
        return self.resource.group_resource, self.namespace, self.name


@dataclass(frozen=True)
class Live:
    """An object of ours in the cluster."""

    target: Target
    obj: Obj


def target_of(document: Document, resource: Resource) -> Target:
    """Return which object a document is about; one without a namespace is in `default`."""
    metadata = document.obj["metadata"]
    namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
    return Target(resource, namespace, metadata["name"])


def surplus(
    folder: Folder, wanted: Iterable[tuple[str, str, str]], live: Sequence[Live]
) -> list[Live]:
    """Return what is to be pruned: in the cluster, of a file that is known, and wanted no more."""
    keep, asked = _kept_labels(folder), set(wanted)
    found = [
        one
        for one in live
        if one.target.identity not in asked and labels_of(one.obj)[FILE] not in keep
    ]
    return sorted(found, key=lambda one: (one.target.resource.kind in LAST, one.target.identity))


def _kept_labels(folder: Folder) -> set[str]:
    """Return the labels of files of which it is not known what they ask for."""
    return {label_of(source.file) for source in folder.sources if source.kept or source.problems}


def duplicates(documents: Sequence[tuple[Document, Target]]) -> Iterator[tuple[Document, str]]:
    """Yield the documents that are about an object of an earlier one, and say so."""
    first: dict[tuple[str, str, str], Document] = {}
    for document, target in documents:
        before = first.setdefault(target.identity, document)
        if before is not document:
            where = f"{before.file}, document {before.number}"
            yield document, f"the same object stands in {where}; remove one of them"
