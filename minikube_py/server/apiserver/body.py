"""A body becomes an object: by content type, with its kind checked, pruned and defaulted.

The texts of errors are those of apimachinery's serializers, because clients show them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from yaml import YAMLError

from minikube_py.api import schema_check, schema_reader
from minikube_py.api.errors import (
    BadRequestError,
    InvalidError,
    RequestTooLargeError,
    UnsupportedMediaTypeError,
)
from minikube_py.api.fields import Field, invalid_message, quote
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.schema_report import DecodeError
from minikube_py.api.yaml import load as load_yaml
from minikube_py.server.apiserver.negotiate import MEDIA_TYPES, Format

BODY_BYTES_MAX = 3 * 1024 * 1024
"""Upstream's limit of a request body: `MaxRequestBodyBytes`, twice etcd's limit of a request."""
PROTOBUF_MAGIC = b"k8s\x00"


@dataclass(frozen=True)
class Decoded:
    """An object as the registry takes it, and what the client should be warned of."""

    obj: dict[str, Any]
    warnings: tuple[str, ...] = ()


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
        match form:
            case "json":
                document = orjson.loads(data)
            case "yaml":
                document = load_yaml(data)
            case "protobuf":
                document = _protobuf(data)
    except (ValueError, RecursionError, YAMLError) as error:
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            f"version/kind; json parse error: {error}"
        ) from error
    if _may_be_deep(data):
        check_depth(document)
    if not isinstance(document, dict):
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            f"version/kind; json parse error: json: cannot unmarshal {_go_type(document)} into Go "
            'value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind '
            'string "json:\\"kind,omitempty\\"" }'
        )
    return document


def _protobuf(data: bytes) -> dict[str, Any]:
    from minikube_py.api import protobuf  # noqa: PLC0415 -- its tables are loaded when first used

    if not data.startswith(PROTOBUF_MAGIC):
        raise ValueError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    return protobuf.decode(data)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "number"


IsKnown = Callable[[str, str], bool]
"""(apiVersion, kind) -> whether upstream has such a kind."""


def check_kind(
    document: Mapping[str, Any], api_version: str, kind: str, *, is_known: IsKnown
) -> None:
    """Raise where the document is not of the kind that the path expects; absent means it is."""
    given_kind, given_version = document.get("kind"), document.get("apiVersion")
    if given_kind and given_kind != kind:
        where = str(given_version or api_version)
        version = where.rpartition("/")[2]
        if is_known(where, given_kind):
            to = f"{_internal_package(api_version)}.{kind}"
            why = f"converting ({version}.{given_kind}) to ({to}): unknown conversion"
        else:
            why = (
                f"no kind {quote(given_kind)} is registered for version {quote(where)} in scheme "
                '"pkg/api/legacyscheme/scheme.go:30"'
            )
        raise BadRequestError(
            f"{given_kind} in version {quote(version)} cannot be handled as a {kind}: {why}"
        )
    if given_version and given_version != api_version:
        raise BadRequestError(
            f"the API version in the data ({given_version}) does not match the expected API "
            f"version ({api_version})"
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
    patch_problems: Sequence[str] | None = None,
) -> Decoded:
    """Check a document against its kind, prune it, and fill in defaults.

    `raw` is the text of the document, where it is JSON. A patched document has none, but the
    patch's own problems, to be told first.

    Raises:
        UnfitError: it does not fit, or (Strict) has fields that the kind does not.

    """
    duplicates: list[str] = []
    if raw and schema_reader.has_duplicates(raw, document):
        merged, duplicates = schema_reader.read_all(raw)
        document = document if resource.custom else merged
    document = {"kind": resource.kind, "apiVersion": resource.api_version, **document}
    if not document.get("metadata"):
        document["metadata"] = {}
    obj: Obj = document
    unknown: list[str] = []
    if (kind := resource.type) is not None:
        try:
            if resource.prune is not None:
                check_depth(document)
                obj, unknown = resource.prune(document)
            else:
                obj, unknown = schema_check.check(kind, document)
        except DecodeError as error:
            raise UnfitError(resource, str(error)) from error
    if patch_problems is None:
        texts = schema_reader.in_order(duplicates, unknown, raw)
    else:  # upstream wrote the patched document with sorted keys
        texts = [*patch_problems, *schema_reader.in_order([], sorted(unknown), b"")]
    warnings = _problems(resource, texts, validation)
    if "metadata" not in obj:
        obj = {**obj, "metadata": {}}
    return Decoded(dict(resource.default(obj)), warnings)


def _problems(resource: Resource, texts: Sequence[str], validation: str) -> tuple[str, ...]:
    """Return what to warn of; raises where the client wants to be strict."""
    if validation == "Ignore" or not texts:
        return ()
    if validation == "Strict":
        raise UnfitError(resource, f"strict decoding error: {', '.join(texts)}")
    return tuple(texts)


def parse_patch(data: bytes, *, yaml: bool) -> Any:
    """Return the document of a patch; an apply patch may be YAML."""
    try:
        patch = load_yaml(data) if yaml else orjson.loads(data)
    except orjson.JSONDecodeError as error:
        why = "unexpected end of JSON input" if error.pos >= len(data) - 1 else str(error)
        raise BadRequestError(f"error decoding patch: {why}") from error
    except (ValueError, RecursionError, YAMLError) as error:
        raise BadRequestError(f"error decoding patch: {error}") from error
    if _may_be_deep(data):
        check_depth(patch)
    return patch
