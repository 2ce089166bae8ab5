"""What the documents of OpenAPI v2 and v3 write alike."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from minikube_py.api import openapi_paths, schema
from minikube_py.api.openapi_paths import STRING, Operation, PathItem
from minikube_py.api.openapi_schemas import referred, with_texts

MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
WATCH_MEDIA = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
STRATEGIC = "application/strategic-merge-patch+json"
PATCH_MEDIA = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    STRATEGIC,
)
ANSWERS = {200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized"}
VARIABLES = {
    "name": "name of the object",
    "namespace": "namespace of the object",
    "path": "path at the target",
}
SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
}


def body_media(operation: Operation) -> tuple[str, ...]:
    """Return the forms of the body that an operation takes."""
    if operation.method != "patch":
        return ("*/*",)
    return PATCH_MEDIA if operation.strategic else tuple(m for m in PATCH_MEDIA if m != STRATEGIC)


def definitions(
    names: set[str],
    convert: Callable[[str, Mapping[str, Any]], dict[str, Any]],
    custom: Mapping[str, dict[str, Any]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the definitions that the names lead to, with their descriptions, by name.

    `custom` has those of custom kinds, in the form of the document.
    """
    table = schema.builtin()
    texts = schema.read_lines("descriptions.bin")
    todo, seen = sorted(names), set(names)
    found: dict[str, dict[str, Any]] = {}
    while todo:
        name = todo.pop()
        if name in custom:
            definition = found[name] = custom[name]
        else:
            definition = table.definition(name)
            found[name] = convert(name, with_texts(definition, orjson.loads(texts[name])))
        new = {ref.rpartition("/")[2] for ref in referred(definition)} - seen
        seen.update(new)
        todo += new
    yield from sorted(found.items())


def shown_paths(
    paths: Iterable[PathItem],
    operation: Callable[[Operation, frozenset[str]], dict[str, Any]],
    parameter: Callable[[str], dict[str, Any]],
) -> dict[str, Any]:
    """Return the `paths` of a document; `parameter` writes a variable or a query parameter.

    What all operations of a path take stands at the path.
    """
    shown: dict[str, Any] = {}
    for item in openapi_paths.sorted_items(paths):
        common = item.common
        entry: dict[str, Any] = {o.method: operation(o, common) for o in item.operations}
        names = [*(f"{{{name}}}" for name in item.variables), *sorted(common)]
        if names:
            entry["parameters"] = [parameter(name) for name in names]
        shown[item.path] = entry
    return shown


def used_definitions(paths: Iterable[PathItem]) -> set[str]:
    """Return the names of the definitions that operations take and answer."""
    operations = [operation for item in paths for operation in item.operations]
    used = {o.body for o in operations if o.body}
    return used | {o.response for o in operations if o.response != STRING}


def head(operation: Operation) -> dict[str, Any]:
    """Return what both versions write alike."""
    head: dict[str, Any] = {"description": operation.description, "operationId": operation.id}
    if operation.action:
        head["x-kubernetes-action"] = operation.action
    if operation.gvk is not None:
        group, version, kind = operation.gvk
        gvk = {"group": group, "version": version, "kind": kind}
        head["x-kubernetes-group-version-kind"] = gvk
    return head


def media(operation: Operation) -> tuple[str, ...]:
    """Return the media types that an operation may answer with."""
    if operation.response == STRING:
        return ("*/*",) if operation.action == "connect" else ("text/plain", *MEDIA)
    return (*MEDIA, *WATCH_MEDIA) if operation.watches else MEDIA
