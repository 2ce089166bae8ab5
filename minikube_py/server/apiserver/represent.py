"""An answer becomes bytes in the form that the client accepts.

Plain JSON is the stored bytes; every other form is made from the parsed object.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from minikube_py.api import table, yaml
from minikube_py.api.errors import NotAcceptableError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.negotiate import Accepted

CHUNK_ITEMS = 64
"""Items of a list that are joined and sent at once; between chunks others have their turn."""


@dataclass(frozen=True)
class Form:
    """How this request wants its answer."""

    accepted: Accepted
    now: datetime
    pretty: bool = False
    include_object: str = "Metadata"

    def document(self, document: Obj) -> bytes:
        """Encode any document."""
        match self.accepted.format:
            case "yaml":
                return yaml.dump(document)
            case "protobuf":
                return _protobuf(document)
            case _:
                option = orjson.OPT_INDENT_2 if self.pretty else 0
                return orjson.dumps(document, option=option | orjson.OPT_APPEND_NEWLINE)

    def item(self, resource: Resource, item: Item) -> bytes:
        """Encode one object."""
        if self.accepted.is_plain_json and not self.pretty:
            return item.data + b"\n"
        return self.document(self._view(resource, item.obj))

    def _view(self, resource: Resource, obj: Obj) -> Obj:
        match self.accepted.view:
            case "Table":
                revision = obj["metadata"].get("resourceVersion", "")
                return table.table(
                    resource,
                    [obj],
                    self.now,
                    include_object=self.include_object,
                    metadata={"resourceVersion": revision} if revision else {},
                )
            case "PartialObjectMetadata":
                return table.partial(obj)
            case "PartialObjectMetadataList":
                raise NotAcceptableError(
                    "you requested PartialObjectMetadataList, but the requested object is not a "
                    f"list (*core.{resource.kind})"
                )
            case _:
                return obj

    def listing(self, resource: Resource, listing: Listing) -> Iterator[bytes]:
        """Yield the encoded list in chunks."""
        if self.accepted.is_plain_json and not self.pretty:
            return joined(resource, listing)
        return iter((self.document(self._list_view(resource, listing)),))

    def _list_view(self, resource: Resource, listing: Listing) -> Obj:
        metadata = list_metadata(listing)
        objects = [item.obj for item in listing.items]
        match self.accepted.view:
            case "Table":
                return table.table(
                    resource,
                    objects,
                    self.now,
                    include_object=self.include_object,
                    metadata=metadata,
                )
            case "PartialObjectMetadataList":
                return {
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                    "items": [table.partial(obj) for obj in objects],
                }
            case "PartialObjectMetadata":
                raise NotAcceptableError(
                    "you requested PartialObjectMetadata, but the requested object is a list "
                    f"(*core.{resource.list_kind})"
                )
            case _:
                return {
                    "kind": resource.list_kind,
                    "apiVersion": resource.api_version,
                    "metadata": metadata,
                    "items": [list_item(resource, obj) for obj in objects],
                }


def list_metadata(listing: Listing) -> dict[str, Any]:
    """Return the ListMeta of a page."""
    metadata: dict[str, Any] = {"resourceVersion": str(listing.revision)}
    if listing.continue_:
        metadata["continue"] = listing.continue_
    if listing.remaining:
        metadata["remainingItemCount"] = listing.remaining
    return metadata


def list_item(resource: Resource, obj: Obj) -> Obj:
    """Return an object as it stands in a list: built-in kinds leave kind and apiVersion out."""
    if resource.custom:
        return obj
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


def joined(resource: Resource, listing: Listing) -> Iterator[bytes]:
    """Yield a list in plain JSON, made of the bytes of its items."""
    head = {
        "kind": resource.list_kind,
        "apiVersion": resource.api_version,
        "metadata": list_metadata(listing),
    }
    start = orjson.dumps(head)[:-1] + b',"items":['
    cut = b"" if resource.custom else _type_prefix(resource)
    items = listing.items
    for begin in range(0, len(items), CHUNK_ITEMS):
        chunk = b",".join(_without(item.data, cut) for item in items[begin : begin + CHUNK_ITEMS])
        yield (start if begin == 0 else b",") + chunk
    yield (b"" if items else start) + b"]}\n"


def _type_prefix(resource: Resource) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b",' % (
        resource.kind.encode(),
        resource.api_version.encode(),
    )


def _without(data: bytes, prefix: bytes) -> bytes:
    return b"{" + data[len(prefix) :] if prefix and data.startswith(prefix) else data


def _protobuf(document: Obj) -> bytes:
    from minikube_py.api import protobuf  # noqa: PLC0415 -- its tables are loaded when first used

    return protobuf.encode(document)


def _protobuf_event(kind: str, obj: Obj) -> bytes:
    from minikube_py.api import protobuf  # noqa: PLC0415 -- its tables are loaded when first used

    return protobuf.watch_frame(kind, obj)


def event_line(
    form: Form, resource: Resource, kind: str, obj: Obj, *, first: bool = False
) -> bytes:
    """Encode a watch event in a form other than plain JSON; the first table names its columns."""
    if form.accepted.view == "Table":
        shown: Obj = _event_table(form, resource, kind, obj, columns=first)
    elif form.accepted.view == "PartialObjectMetadata":
        shown = table.partial(obj) if kind != "ERROR" else obj
    else:
        shown = obj
    if form.accepted.format == "protobuf":
        return _protobuf_event(kind, shown)
    event = {"type": kind, "object": shown}
    if form.accepted.format == "yaml":
        return b"---\n" + yaml.dump(event)
    return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)


def _event_table(form: Form, resource: Resource, kind: str, obj: Obj, *, columns: bool) -> Obj:
    if kind == "ERROR":
        return obj
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    if kind == "BOOKMARK":
        resource = replace(resource, cells=lambda _obj: table.empty_cells(resource))
    return table.table(
        resource,
        [obj],
        form.now,
        include_object=form.include_object,
        metadata=metadata,
        columns=columns,
    )
