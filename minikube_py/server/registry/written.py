"""What a write makes of an object beside its kind's rules, and where it puts it. Pure."""

from dataclasses import replace
from typing import Any

from minikube_py.api import metadata, schema_complete
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.lib.values import random_text
from minikube_py.server.registry.cache import stored
from minikube_py.server.registry.hooks import Write

AUTHOR_CHARACTERS_MAX = 255


def random_suffix() -> str:
    """Return what makes a generated name unique."""
    return random_text(metadata.SUFFIX_ALPHABET, 5)


def is_stale(resource: Resource, item: Item) -> bool:
    """Tell whether writing the object as it is would change what is stored: another version."""
    moved = resource.convert is not None and item.obj["apiVersion"] != stored(resource).api_version
    return item.stale or moved


def creating(write: Write) -> Write:
    """Return the write of an update that has nothing to update: it creates."""
    options = {key: value for key, value in write.options.items() if key != "force"}
    if options:
        options["kind"] = "CreateOptions"
    return replace(write, operation="CREATE", options=options)


def author_of(write: Write) -> str:
    """Return who writes and how, as the history keeps it: `patch/status system:node:a`."""
    verb = write.operation.lower()
    if write.applied:
        verb = "apply"
    elif write.options.get("kind") == "PatchOptions":
        verb = "patch"
    below = f"/{write.subresource}" if write.subresource else ""
    return f"{verb}{below} {write.user.name}"[:AUTHOR_CHARACTERS_MAX]


def key_text(obj: Obj) -> str:
    """Return where an object lives within its kind: `namespace/name`, or its name."""
    namespace, name = obj["metadata"].get("namespace"), obj["metadata"]["name"]
    return f"{namespace}/{name}" if namespace else str(name)


def complete(resource: Resource, obj: Obj, old: Obj | None = None) -> Obj:
    """Return the object as it is stored: with an empty status, say, where it has none."""
    kind, known = resource.type, old if resource.storage is None else None
    return obj if kind is None else schema_complete.stored(kind, obj, known)


def carry_metadata(new: Obj, old: Obj) -> dict[str, Any]:
    """Fill in what an update may leave out and keep what it cannot change."""
    prepared = metadata.prepare_for_update(new["metadata"], old["metadata"])
    prepared.pop("selfLink", None)
    prepared["resourceVersion"] = old["metadata"]["resourceVersion"]
    return {**new, "metadata": prepared}


def terminating(obj: Obj) -> Obj:
    """Return the marked object with what its kind shows while it ends."""
    if obj["kind"] != "Namespace":
        return obj
    return {**obj, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}
