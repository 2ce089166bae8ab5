"""Server-side apply over the verbs: the configuration is checked, merged and decoded.

What an apply owns is decided by `api.apply`; this is the part of upstream's `applyPatcher` around
it.
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.api import apply, schema
from minikube_py.api.errors import BadRequestError
from minikube_py.api.managed_fields import Writer
from minikube_py.api.object import Obj
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.patching import unsupported_patch
from minikube_py.server.registry.ownership import undeclared, writer_of
from minikube_py.server.registry.store import Store


def check_configuration(call: Call, patch: Any) -> dict[str, Any]:
    """Return the applied configuration; raises BadRequestError where it is none of this kind."""
    if patch is None:
        patch = {}
    if not isinstance(patch, Mapping):
        raise BadRequestError("error decoding YAML: the configuration is not an object")
    given, kind = patch.get("apiVersion") or "", patch.get("kind") or ""
    group, _, version = str(given).rpartition("/")
    if (group, version, kind) != call.resource.kind_at(call.subresource):
        raise BadRequestError(f"invalid object type: {group}/{version}, Kind={kind}")
    metadata = patch.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise BadRequestError("error decoding YAML: metadata is not an object")
    return {**patch, "metadata": dict(metadata or {})}


def applied(call: Call, store: Store, live: Obj | None, configuration: Obj) -> Obj:
    """Return the object after the apply, without defaults; `live` itself where nothing changes."""
    write = call.write("UPDATE")
    kind = call.resource.type
    if kind is None:
        raise unsupported_patch("apply")
    if live is not None and (text := undeclared(call.resource, live)):
        raise apply.TypedPatchError(text)
    writer = writer_of(write, store.clock.now())
    return apply.apply(kind, live, configuration, writer, force=call.options.force)


def applied_to(call: Call, live: Obj, configuration: Obj) -> Obj:
    """Return the document of a subresource with a kind of its own after the apply.

    Its owners become those of the parent, where such entries have no time.
    """
    group, version, kind = call.resource.kind_at(call.subresource)
    writer = Writer(
        manager=call.options.manager,
        api_version=f"{group}/{version}",
        now=None,
        subresource=call.subresource,
    )
    type_ = schema.type_of(f"io.k8s.api.{group}.{version}.{kind}")
    return apply.apply(type_, live, configuration, writer, force=call.options.force)


def check_strictly(call: Call) -> None:
    """Tell of keys that stand twice in an applied text; raises where the client is strict."""
    texts = [f"error converting YAML to JSON: {text}" for text in call.found]
    if texts and call.options.field_validation == "Strict":
        raise BadRequestError(f"error strict decoding YAML: {texts[0]}")
    call.warnings.extend(texts)
