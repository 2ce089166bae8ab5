"""An answer becomes bytes in the form that the client accepts.

Plain JSON is the stored bytes; every other form is made from the parsed object.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from minikube_py.api import table, yaml
from minikube_py.api.errors import NotAcceptableError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.negotiate import MEDIA_TYPES, Accepted, not_acceptable

CHUNK_ITEMS = 64
"""Items of a list that are joined and sent at once; between chunks others have their turn."""
VIEW_ITEMS = 16
"""The same of a view, for which each item is parsed and shown."""


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
                # As Go writes it: only the short form ends with a newline.
                option = orjson.OPT_INDENT_2 if self.pretty else orjson.OPT_APPEND_NEWLINE
                return orjson.dumps(document, option=option)

    def item(self, resource: Resource, item: Item) -> bytes:
        """Encode one object."""
        if self.accepted.is_plain_json and not self.pretty:
            return item.data + b"\n"
        return self.document(self._view(resource, item.obj))

    def answered(self, document: Obj) -> bytes:
        """Encode the answer of an endpoint; only a Status has no other form."""
        if not self.accepted.view or document["kind"] == "Status":
            return self.document(document)
        resource = SCALES if document["kind"] == "Scale" else _plain(document)
        return self.document(self._view(resource, document))

    def _table(self, resource: Resource, objects: Sequence[Obj], metadata: Obj) -> Obj:
        """Return a table in the version that was asked for."""
        made = table.table(
            resource, objects, self.now, include_object=self.include_object, metadata=metadata
        )
        return self.in_version(made)

    def in_version(self, made: dict[str, Any]) -> Obj:
        """Return a table or partial object in the version that was asked for."""
        if self.accepted.view_version == "v1":
            return made
        version = f"{self.accepted.view_group}/{self.accepted.view_version}"
        for row in made.get("rows") or ():
            if (row.get("object") or {}).get("apiVersion") == table.API_VERSION:
                row["object"] = {**row["object"], "apiVersion": version}
        return {**made, "apiVersion": version}

    def _view(self, resource: Resource, obj: Obj) -> Obj:
        match self.accepted.view:
            case "Table":
                revision = obj["metadata"].get("resourceVersion", "")
                metadata = {"resourceVersion": revision} if revision else {}
                return self._table(resource, [obj], metadata)
            case "PartialObjectMetadata":
                return self.in_version(table.partial(obj))
            case "PartialObjectMetadataList":
                raise NotAcceptableError(
                    "you requested PartialObjectMetadataList, but the requested object is not a "
                    f"list ({_go_name(resource)})"
                )
            case _:
                return obj

    def listing(self, resource: Resource, listing: Listing) -> Iterator[bytes]:
        """Yield the encoded list in chunks."""
        if self.accepted.format == "json" and not self.pretty:
            if not self.accepted.view:
                return joined(resource, listing)
            if len(listing.items) > CHUNK_ITEMS and resource.row_order is None:
                return self._shown_in_chunks(resource, listing)
        if self.accepted.format == "yaml" and not self.accepted.view and listing.items:
            return self._yaml(resource, listing)
        return self._at_once(resource, listing)

    def _at_once(self, resource: Resource, listing: Listing) -> Iterator[bytes]:
        """Yield the list in one piece, made where it is asked for."""
        yield self.document(self._list_view(resource, listing))

    def _yaml(self, resource: Resource, listing: Listing) -> Iterator[bytes]:
        """Yield a list in YAML item by item: an encoder of C lets nobody else run."""
        head = self._list_view(resource, replace(listing, items=()))
        yield yaml.dump({"apiVersion": head["apiVersion"]}) + b"items:\n"
        for item in listing.items:
            yield yaml.dump([list_item(resource, item.obj)])
        yield yaml.dump({"kind": head["kind"], "metadata": head["metadata"]})

    def _shown_in_chunks(self, resource: Resource, listing: Listing) -> Iterator[bytes]:
        """Return a long view of a list in chunks; its rows are made when their chunk is."""
        member = "rows" if self.accepted.view == "Table" else "items"
        head = dict(self._list_view(resource, replace(listing, items=())))
        del head[member]
        start = orjson.dumps(head)[:-1] + b',"%b":[' % member.encode()

        def chunks() -> Iterator[bytes]:
            for begin in range(0, len(listing.items), VIEW_ITEMS):
                part = replace(listing, items=listing.items[begin : begin + VIEW_ITEMS])
                shown = orjson.dumps(self._list_view(resource, part)[member])
                yield (start if begin == 0 else b",") + shown[1:-1]
            yield b"]}\n"

        return chunks()

    def _list_view(self, resource: Resource, listing: Listing) -> Obj:
        metadata = list_metadata(listing)
        objects = [item.obj for item in listing.items]
        match self.accepted.view:
            case "Table":
                return self._table(resource, objects, metadata)
            case "PartialObjectMetadataList":
                return {
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": f"meta.k8s.io/{self.accepted.view_version}",
                    "metadata": metadata,
                    "items": [self.in_version(table.partial(obj)) for obj in objects],
                }
            case "PartialObjectMetadata":
                raise NotAcceptableError(
                    "you requested PartialObjectMetadata, but the requested object is a list "
                    f"({_go_name(resource, is_list=True)})"
                )
            case _:
                return {
                    "kind": resource.list_kind,
                    "apiVersion": resource.api_version,
                    "metadata": metadata,
                    "items": [list_item(resource, obj) for obj in objects],
                }


PLAIN = Form(Accepted(), datetime.min.replace(tzinfo=UTC))
"""Short JSON, the form of most answers; only tables ask what time it is."""


def _scale_cells(scale: Obj) -> Sequence[Any]:
    metadata = scale["metadata"]
    desired, available = get(scale, "spec.replicas", 0), get(scale, "status.replicas", 0)
    return metadata["name"], desired, available, Age(metadata.get("creationTimestamp"))


SCALES = Resource(
    group="autoscaling",
    kind="Scale",
    plural="scales",
    columns=(Column("Name"), Column("Desired", "integer"), Column("Available", "integer"), AGE),
    cells=_scale_cells,
)
"""How a scale is shown as a table."""


def _plain(document: Obj) -> Resource:
    """Return how a document without columns of its own is shown."""
    return Resource(kind=document["kind"], plural="", columns=(NAME, AGE), cells=table.name_and_age)


def list_metadata(listing: Listing) -> dict[str, Any]:
    """Return the ListMeta of a page."""
    metadata: dict[str, Any] = {}
    if listing.revision:  # what is never stored has none
        metadata["resourceVersion"] = str(listing.revision)
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


def _go_name(resource: Resource, *, is_list: bool = False) -> str:
    """Return what upstream calls the type: messages name the internal version's package."""
    if resource.custom:
        return "*unstructured.UnstructuredList" if is_list else "*unstructured.Unstructured"
    package = resource.group.partition(".")[0] if resource.group != "events.k8s.io" else ""
    return f"*{package or 'core'}.{resource.list_kind if is_list else resource.kind}"


def check_form(form: Form, resource: Resource, *, subresource: str = "") -> None:
    """Raise NotAcceptableError where there is no such form.

    What is answered but never stored, as a review or a binding, has no printer, nor have some other
    subresources.
    """
    sub = resource.subresource(subresource)
    verbs = resource.verbs if sub is None else sub.verbs
    has_tables = verbs != ("create",) and (sub is None or sub.has_tables)
    if form.accepted.view == "Table" and not has_tables:
        raise not_acceptable(tuple(MEDIA_TYPES))


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
        shown = form.in_version(table.partial(obj)) if kind != "ERROR" else obj
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
        cells = table.blank_cells(resource, obj)
        resource = replace(resource, cells=lambda _obj: cells)
    made = table.table(
        resource,
        [obj],
        form.now,
        include_object=form.include_object,
        metadata=metadata,
        columns=columns,
    )
    return form.in_version(made)
