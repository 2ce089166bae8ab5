"""A body becomes an object: by content type, with its kind checked, pruned and defaulted.

The texts of errors are those of apimachinery's serializers, because clients show them.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import orjson
from yaml import YAMLError

from minikube_py.api import go_json, raw_text, schema_check, schema_reader
from minikube_py.api.errors import (
    BadRequestError,
    InvalidError,
    RequestTooLargeError,
    UnsupportedMediaTypeError,
)
from minikube_py.api.fields import Field, invalid_message, quote
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.schema_complete import changed_fields
from minikube_py.api.schema_report import DecodeError
from minikube_py.api.yaml import error_text as yaml_error_text
from minikube_py.api.yaml import load as load_yaml
from minikube_py.api.yaml import repeated_keys
from minikube_py.client.protocol import PatchType
from minikube_py.lib import patience
from minikube_py.lib.patience import patiently
from minikube_py.server.apiserver.negotiate import MEDIA_TYPES, Format

BODY_BYTES_MAX = 3 * 1024 * 1024
"""Upstream's limit of a request body: `MaxRequestBodyBytes`, twice etcd's limit of a request."""
LARGE_BYTES: Mapping[Format, int] = {"json": 64 << 10, "protobuf": 64 << 10, "yaml": 8 << 10}
"""What may take some ten milliseconds to read."""
SMALL_BYTES = 8 << 10
"""JSON that takes no time worth watching, whatever is wrong with it."""
T = TypeVar("T")
PROTOBUF_MAGIC = b"k8s\x00"
SUMMARY_BYTES_MAX = 30
"""How much of a body that nobody can read an error shows."""


@dataclass(frozen=True)
class Decoded:
    """An object as the registry takes it, and what the client should be warned of."""

    obj: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Patched(NamedTuple):
    """How a document came about that a patch made."""

    current: Obj
    """The stored object that was patched."""
    problems: Sequence[str]
    """What a strict reader finds wrong with the patch."""


class UnfitError(BadRequestError):
    """A document that is not of its kind."""

    def __init__(self, resource: Resource, why: str) -> None:
        super().__init__(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a '
            f"{resource.kind}: {why}"
        )
        self.why = why


def format_of(content_type: str) -> Format:
    """Return the format that a Content-Type names; none means JSON."""
    media = content_type.partition(";")[0].strip().lower()
    if not media:
        return "json"
    form = MEDIA_TYPES.get(media)
    if form is None:
        known = ", ".join(MEDIA_TYPES)
        raise UnsupportedMediaTypeError(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{known}"
        )
    return form


def too_large() -> RequestTooLargeError:
    """Make the error of a body over the limit."""
    return RequestTooLargeError(f"Request entity too large: limit is {BODY_BYTES_MAX}")


DEPTH_MAX = 200
"""Maps and lists inside each other that a body may have; encoders and walks end soon after."""


def check_depth(document: Any) -> None:
    """Raise BadRequestError for a document that is nested too deeply to be worked on."""
    level = [document]
    for _ in range(DEPTH_MAX):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(v for v in value.values() if isinstance(v, dict | list))
            elif isinstance(value, list):
                inner.extend(v for v in value if isinstance(v, dict | list))
        if not inner:
            return
        level = inner
    raise BadRequestError(f"the document exceeded max depth: {DEPTH_MAX}")


def _may_be_deep(data: bytes) -> bool:
    """Tell from the text whether it is worth looking; block styles of YAML nest by indentation."""
    return data.count(b"{") + data.count(b"[") + data.count(b":\n") + data.count(b"- ") > DEPTH_MAX


def parse(data: bytes, form: Format, kind: str) -> dict[str, Any]:
    """Return the document of a body; `kind` is what the path expects, for the messages."""
    try:
        document = _READERS[form](data)
    except YAMLError as error:
        raise _unrecognized(kind, yaml_error_text(error), data) from error
    except (ValueError, RecursionError) as error:
        raise _unrecognized(kind, _NO_HEAD * (form == "json") + str(error), data) from error
    if _may_be_deep(data):
        check_depth(document)
    if document is None:
        return {}
    if why := _no_head(document):
        raise _unrecognized(kind, _NO_HEAD + why, data)
    if str(document.get("apiVersion")).count("/") > 1:
        why = f"unexpected GroupVersion string: {document['apiVersion']}"
        raise _unrecognized(kind, why, data)
    return document  # type: ignore[no-any-return]


def parse_with_text(data: bytes, form: Format, resource: Resource) -> tuple[dict[str, Any], bytes]:
    """Return the document of a body, and its text where `decode` has to look at that.

    It has not where a large text, which is read beside the loop, turns out to hold no key twice.
    """
    document = parse(data, form, resource.kind)
    large = len(data) > LARGE_BYTES[form] and not resource.raw_paths
    if form != "json" or (large and not schema_reader.has_duplicates(data, document)):
        return document, b""
    return document, data


_NO_HEAD = "couldn't get version/kind; json parse error: "


async def off_loop(form: Format, data: bytes, read: Callable[[], T]) -> T:
    """Return what `read` makes of a body; a large or slow one is read beside the loop."""
    if len(data) > LARGE_BYTES[form]:
        return await asyncio.to_thread(read)
    if form == "json" and len(data) <= SMALL_BYTES:
        return read()
    return await patiently(read)


def _json(data: bytes) -> Any:
    """Return the value of a JSON text; raises ValueError in Go's words."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if len(data) > SMALL_BYTES:
            patience.elsewhere()
        if why := go_json.syntax_error(data):
            raise ValueError(why) from error
        # Go puts U+FFFD in the place of bytes that are no UTF-8 and of half characters.
        text = _HALVES.sub("\\\\ufffd", data.decode(errors="replace"))
        return json.loads(text, parse_int=_go_int)


def _go_int(text: str) -> int | float:
    """Return a number as Go's decoder does, which takes what has more than 64 bits for a float."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return int(text) if abs(value) < 2**63 else value


_HALVES = re.compile(r"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""Escapes of the first half of a character without the second."""


def _no_head(document: Any) -> str:
    """Say why Go cannot read apiVersion and kind of a document, "" where it can."""
    if not isinstance(document, dict):
        return (
            f"json: cannot unmarshal {_go_type(document)} into Go value of type struct "
            '{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }'
        )
    for name in ("apiVersion", "kind"):
        if not isinstance(document.get(name), str | None):
            given = _go_type(document[name])
            return f"json: cannot unmarshal {given} into Go struct field .{name} of type string"
    return ""


def _unrecognized(kind: str, why: str, data: bytes) -> BadRequestError:
    return BadRequestError(
        f"the object provided is unrecognized (must be of type {kind}): {why} ({_summary(data)})"
    )


def _summary(data: bytes) -> str:
    """Return the beginning of a body, as text where it may be JSON, else in hex."""
    if not data:
        return "<empty>"
    more = " ..." if len(data) > SUMMARY_BYTES_MAX else ""
    begin = data[:SUMMARY_BYTES_MAX]
    return (begin.decode(errors="replace") if data[:1] == b"{" else begin.hex()) + more


def _protobuf(data: bytes) -> dict[str, Any]:
    from minikube_py.api import protobuf  # noqa: PLC0415 -- its tables are loaded when first used

    if not data.startswith(PROTOBUF_MAGIC):
        raise ValueError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    return protobuf.decode(data)


_READERS: Mapping[Format, Callable[[bytes], Any]] = {
    "json": _json,
    "yaml": load_yaml,
    "protobuf": _protobuf,
}


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


OLD_VERSIONS = frozenset(
    {
        "admissionregistration.k8s.io/v1beta1",
        "apps/v1beta1",
        "apps/v1beta2",
        "authentication.k8s.io/v1beta1",
        "authorization.k8s.io/v1beta1",
        "batch/v1beta1",
        "certificates.k8s.io/v1beta1",
        "coordination.k8s.io/v1beta1",
        "discovery.k8s.io/v1beta1",
        "events.k8s.io/v1beta1",
        "extensions/v1beta1",
        "flowcontrol.apiserver.k8s.io/v1beta3",
        "networking.k8s.io/v1beta1",
        "node.k8s.io/v1beta1",
        "policy/v1beta1",
        "rbac.authorization.k8s.io/v1beta1",
        "resource.k8s.io/v1beta1",
        "resource.k8s.io/v1beta2",
        "scheduling.k8s.io/v1beta1",
        "storage.k8s.io/v1beta1",
    }
)
"""Versions that upstream no longer serves by default, and still can read."""
IsKnown = Callable[[str, str], bool]
"""(apiVersion, kind) -> whether upstream has such a kind."""


def check_kind(
    document: Mapping[str, Any], api_version: str, kind: str, *, is_known: IsKnown
) -> None:
    """Raise where the document is not of the kind that the path expects; absent means it is."""
    given_kind, given_version = document.get("kind"), document.get("apiVersion")
    if given_kind and given_kind != kind:
        version = str(given_version or api_version).rpartition("/")[2]
        raise BadRequestError(
            f"{given_kind} in version {quote(version)} cannot be handled as a {kind}: "
            + mismatch(document, api_version, kind, is_known=is_known)
        )
    if given_version and given_version != api_version:
        if not is_known(given_version, kind):
            raise BadRequestError(
                f"{kind} in version {quote(given_version.rpartition('/')[2])} cannot be handled as "
                f"a {kind}: " + mismatch(document, api_version, kind, is_known=is_known)
            )
        raise BadRequestError(
            f"the API version in the data ({given_version}) does not match the expected API "
            f"version ({api_version})"
        )


def mismatch(document: Mapping[str, Any], api_version: str, kind: str, *, is_known: IsKnown) -> str:
    """Return why a document of another kind or version is not one of this, "" where it is one."""
    if why := _no_head(document):
        return _NO_HEAD + why
    given, where = document.get("kind") or kind, str(document.get("apiVersion") or api_version)
    if (where, given) == (api_version, kind):
        return ""
    if is_known(where, given):
        version, to = where.rpartition("/")[2], f"{_internal_package(api_version)}.{kind}"
        return f"converting ({version}.{given}) to ({to}): unknown conversion"
    return (
        f"no kind {quote(given)} is registered for version {quote(where)} in scheme "
        '"pkg/api/legacyscheme/scheme.go:30"'
    )


def _internal_package(api_version: str) -> str:
    """Return the Go package of a group's internal types."""
    group = api_version.rpartition("/")[0].partition(".")[0]
    return "core" if group in {"", "events"} else group


def check_custom_kind(document: Mapping[str, Any], resource: Resource) -> None:
    """Raise for a custom object under another kind, which upstream finds when it validates."""
    given = document.get("kind")
    if not given or given == resource.kind:
        return
    error = Field("kind").invalid(given, f"must be {resource.kind}")
    name = (document.get("metadata") or {}).get("name", "")
    raise InvalidError(
        invalid_message(f"{given}.{resource.group}", name, [error]),
        details={"name": name, "group": resource.group, "kind": given},
        causes=[error.cause()],
    )


def decode(
    document: dict[str, Any],
    resource: Resource,
    *,
    validation: str = "Warn",
    raw: bytes = b"",
    found: Sequence[str] = (),
    patch: Patched | None = None,
) -> Decoded:
    """Check a document against its kind, prune it, and fill in defaults.

    `raw` is the text of the document, where it is JSON; `found` is what is wrong with it else. A
    patched document has no text, but the patch's own problems, to be told first.

    Raises:
        UnfitError: it does not fit, or (Strict) has fields that the kind does not.

    """
    duplicates: list[str] = []
    if raw and schema_reader.has_duplicates(raw, document):
        merged, duplicates = schema_reader.read_all(raw)
        document = document if resource.custom else merged
    document = _with_head(document, resource)
    if not document.get("metadata"):
        document["metadata"] = {}
    try:
        obj, unknown = _checked(resource, document, patch.current if patch is not None else None)
    except DecodeError as error:
        raise UnfitError(resource, str(error)) from error
    if patch is None:
        texts = [*found, *schema_reader.in_order(duplicates, unknown, raw)]
    else:  # upstream wrote the patched document with sorted keys
        texts = [*patch.problems, *schema_reader.in_order([], sorted(unknown), b"")]
    warnings = _problems(resource, texts, validation)
    if "metadata" not in obj:
        obj = {**obj, "metadata": {}}
    obj = _with_texts(obj, resource.raw_paths, raw, patched=patch is not None)
    return Decoded(dict(resource.default(obj)), warnings)


def _checked(resource: Resource, document: Obj, current: Obj | None) -> tuple[Obj, list[str]]:
    """Return the document as its kind has it, and its unknown fields.

    What a patched document shares with the stored one, which is sound, is not looked at again.
    """
    kind = resource.type
    if kind is None:
        return document, []
    if resource.prune is not None:
        check_depth(document)
        return resource.prune(document)
    changed = changed_fields(document, current if resource.storage is None else None)
    obj, unknown = schema_check.check(kind, changed)
    if changed is not document:
        same = {name: value for name, value in document.items() if name not in changed}
        obj = {**same, **obj}
    return obj, unknown


def _with_texts(obj: Obj, paths: Sequence[raw_text.Path], raw: bytes, *, patched: bool) -> Obj:
    """Keep how free-form values are written in a document; a patch writes them anew."""
    if paths and patched:
        return raw_text.flat(obj, paths)
    return raw_text.kept(obj, raw, paths) if paths and raw else obj


def _with_head(document: Mapping[str, Any], resource: Resource) -> dict[str, Any]:
    """Return the document with kind and apiVersion; null and "" say nothing either."""
    head = {"kind": resource.kind, "apiVersion": resource.api_version}
    if document.get("kind") and document.get("apiVersion"):
        return dict(document)
    return {**head, **document, **{name: document.get(name) or head[name] for name in head}}


def _problems(resource: Resource, texts: Sequence[str], validation: str) -> tuple[str, ...]:
    """Return what to warn of; raises where the client wants to be strict."""
    if validation == "Ignore" or not texts:
        return ()
    if validation == "Strict":
        raise UnfitError(resource, f"strict decoding error: {', '.join(texts)}")
    return tuple(texts)


def parse_patch(data: bytes, kind: PatchType) -> Any:
    """Return the document of a patch; raises BadRequestError."""
    try:
        patch = load_yaml(data) if kind == "apply" else _json(data)
    except YAMLError as error:
        why = f"error converting YAML to JSON: {yaml_error_text(error)}"
        raise BadRequestError(f"error decoding YAML: {why}") from error
    except (ValueError, RecursionError) as error:
        where = {"apply": "error decoding YAML: ", "strategic": ""}.get(
            kind, "error decoding patch: "
        )
        raise BadRequestError(f"{where}{error}") from error
    if _may_be_deep(data):
        check_depth(patch)
    return patch


def repeated_in_yaml(data: bytes, validation: str) -> tuple[str, ...]:
    """Return what a strict reader finds wrong with a text in YAML beyond unknown fields."""
    if validation == "Ignore":
        return ()
    found = repeated_keys(data)
    return (found,) if found else ()
