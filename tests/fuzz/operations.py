"""What can be asked of a server, as the OpenAPI documents say that it serves, and how to bend it.

`Operation.requests` draws a request: names, query and body that follow the document, with here
and there a value of another type, of absurd size or of none at all. Half of what a real fuzzer
finds is one wrong value in an otherwise right request, so most of a request stays right.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

import orjson
from hypothesis import strategies as st

METHODS = ("get", "put", "post", "delete", "patch")
DEPTH_MAX = 5
FIELDS_MAX = 5
LONG = 70_000
VALUE_BYTES_MAX = 2000
JSON = "application/json"
TYPES = [JSON, JSON, JSON, "application/yaml", "application/vnd.kubernetes.protobuf", "", "text/x"]
PATCHES = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/x",
]
ACCEPTS = [
    JSON,
    "*/*",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "text/html;q=2,;",
]
ODD_TEXTS = (
    *("", " ", "a", "A_b", "-", ".", "..", "*", "/", "%", "\0", "\n", "é", "\u202e", "\U0001d54f"),
    *("true", "null", "0", "-1", "1e309", "9" * 40, "0x1", "1Gi", "1.5m", "1e-400", "10%"),
    *("2020-01-01T00:00:00Z", "9999-99-99T99:99:99Z", "::1", "256.0.0.1", "10.0.0.0/33"),
    *("a" * 64, "a" * 254, "a" * LONG, "{{}}", "$(A)", "a=b,c in (", "metadata.name=", "&", "?"),
)
ODD_NUMBERS = (0, 1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5)
odd = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from([None, True, False, [], {}, [None], [[]], {"": None}, [{}], {"a": {"a": {}}}]),
    st.text(max_size=12),
    st.floats(allow_nan=False, allow_infinity=False),
)
names = st.one_of(
    st.sampled_from(["default", "kube-system", "a", "b", "kubernetes", "system:basic-user"]),
    st.sampled_from(["..", ".", "%", "a/b", "A", "a" * 300, "\0", " ", "é", "*", "a.b-c"]),
    st.text(min_size=1, max_size=8),
)
Schemas = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire."""

    method: str
    target: str
    content_type: str
    accept: str
    body: bytes


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    query: tuple[str, ...]
    body: Any
    """The schema of the body, None where there is none."""
    schemas: Schemas

    def requests(self) -> st.SearchStrategy[Request]:
        """Draw requests of this operation."""
        return st.builds(
            Request,
            method=st.just(self.method.upper()),
            target=_targets(self.path, self.query),
            content_type=st.sampled_from(PATCHES if self.method == "patch" else TYPES),
            accept=st.sampled_from(ACCEPTS),
            body=self._bodies(),
        )

    def _bodies(self) -> st.SearchStrategy[bytes]:
        if self.body is None:
            return st.just(b"") | mutated(st.just(b'{"kind":"DeleteOptions","apiVersion":"v1"}'))
        right = documents(self.body, self.schemas)
        if self.method == "patch":
            right = right | json_patches
        plain = right.map(encoded)
        return st.one_of(plain, plain, plain, mutated(plain))


pointers = st.sampled_from(
    [
        *("", "/", "/metadata", "/metadata/labels", "/metadata/labels/a~1b", "/spec", "/spec/-"),
        *("/spec/containers/0", "/spec/containers/99", "/spec/containers/-1", "/~2", "a", "/kind"),
        *("/metadata/name", "/metadata/uid", "/metadata/resourceVersion", "/status", "/data"),
    ]
)
json_patches = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "", "x"])},
        optional={"path": pointers | odd, "from": pointers | odd, "value": odd},
    ),
    max_size=4,
)


def encoded(document: Any) -> bytes:
    """Encode as JSON, whatever the numbers and texts."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document).encode()


def _targets(path: str, query: Sequence[str]) -> st.SearchStrategy[str]:
    parts = [_quoted if part.startswith("{") else st.just(part) for part in path.split("/")]
    chosen = st.dictionaries(st.sampled_from(query), odd, max_size=3) if query else st.just({})
    return st.builds(_target, chosen, st.tuples(*parts))


_quoted = names.map(lambda name: quote_from_bytes(name.encode(errors="replace"), safe=""))


def _target(query: Mapping[str, Any], parts: Sequence[str]) -> str:
    texts = {name: str(value).encode(errors="replace") for name, value in query.items()}
    pairs = [f"{name}={quote_from_bytes(text[:VALUE_BYTES_MAX])}" for name, text in texts.items()]
    return "/".join(parts) + "?" + "&".join(pairs)


def documents(schema: Any, schemas: Schemas, depth: int = 0) -> st.SearchStrategy[Any]:
    """Draw values that follow a schema, now and then not."""
    return st.deferred(lambda: _values(_resolved(schema, schemas), schemas, depth))


def _values(schema: Mapping[str, Any], schemas: Schemas, depth: int) -> st.SearchStrategy[Any]:
    right = st.just(None) if depth >= DEPTH_MAX else _right(schema, schemas, depth)
    return st.integers(0, 11).flatmap(lambda turn: right if turn else odd)


def _right(schema: Mapping[str, Any], schemas: Schemas, depth: int) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "properties" in schema:
        return _objects(schema, schemas, depth)
    kind = schema.get("type")
    if kind == "object":
        inner = schema.get("additionalProperties")
        value = documents(inner, schemas, depth + 1) if isinstance(inner, dict) else odd
        return st.dictionaries(names, value, max_size=2)
    if kind == "array":
        return st.lists(documents(schema.get("items", {}), schemas, depth + 1), max_size=2)
    return _SCALARS.get(kind, st.sampled_from(ODD_TEXTS) | names)


_SCALARS: Mapping[Any, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.sampled_from(ODD_NUMBERS) | st.integers(0, 100),
    "number": st.sampled_from(ODD_NUMBERS) | st.floats(0, 100),
}


def _objects(schema: Mapping[str, Any], schemas: Schemas, depth: int) -> st.SearchStrategy[Any]:
    properties: Mapping[str, Any] = schema["properties"]

    def drawn(chosen: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {name: documents(properties[name], schemas, depth + 1) for name in chosen}
        )

    identity = _identity(schema)
    needed = {"metadata", "spec", *schema.get("required", ())} & properties.keys()
    base = drawn(sorted(needed))
    others = sorted(properties.keys() - needed - identity.keys())
    if others:
        more = st.lists(st.sampled_from(others), max_size=FIELDS_MAX, unique=True).flatmap(drawn)
    else:
        more = st.just({})
    return st.builds(lambda first, second: {**identity, **first, **second}, base, more)


def _identity(schema: Mapping[str, Any]) -> dict[str, str]:
    kinds = schema.get("x-kubernetes-group-version-kind") or ()
    for kind in kinds:
        version = f"{kind['group']}/{kind['version']}" if kind["group"] else kind["version"]
        return {"apiVersion": version, "kind": kind["kind"]}
    return {}


def _resolved(schema: Any, schemas: Schemas) -> Mapping[str, Any]:
    for _ in range(DEPTH_MAX):
        if "$ref" in schema:
            schema = schemas.get(schema["$ref"].rpartition("/")[2], {})
        elif schema.get("allOf"):
            schema = schema["allOf"][0]
        elif schema.get("oneOf"):
            schema = schema["oneOf"][0]
    return schema


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations of one OpenAPI v3 document."""
    schemas = document.get("components", {}).get("schemas", {})
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
            content = operation.get("requestBody", {}).get("content", {})
            body = next((media.get("schema") for media in content.values()), None)
            query = tuple(p["name"] for p in parameters if p.get("in") == "query")
            yield Operation(method, path, query, body, schemas)


PIECES = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u", b"\\ud800", b"null", b"1e999"),
    *(b"[" * 400, b'{"a":' * 400, b"\x00", b"\xff\xfe", b"&a ", b"*a", b"<<: ", b"--- ", b"!!set "),
    *(b"k8s\x00", b"\x0a\xff\xff\xff\xff\x0f", b"\n- ", b"\t", b"%", b"a: &a [*a,*a]\n"),
)


@st.composite
def mutated(draw: Any, originals: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes that were right until somebody dropped them."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data), 1)))
        match draw(st.integers(0, 5)):
            case 0:
                del data[place:]
            case 1:
                data[place:place] = draw(st.binary(max_size=8))
            case 2:
                del data[place : place + draw(st.integers(1, 16))]
            case 3:
                data[place:place] = data[: draw(st.integers(0, 64))]
            case 4:
                data[place:place] = draw(st.sampled_from(PIECES))
            case _:
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
    return bytes(data)
