"""Kubernetes protobuf: objects as binary messages in an envelope that names their kind.

Bytes begin with `k8s` and a zero byte; then comes a `runtime.Unknown` whose `raw` is the message of
the kind. Field numbers come from the table that the build makes of the Go structs' tags
(`packaging/go_facts.py`), under the JSON names, so that a decoded message is nearly the JSON
document. What is different has an adapter: amounts, times and numbers-or-texts are small messages,
embedded structs are messages whose fields JSON shows in the parent, raw values hold JSON.

A decoded document still has the empty values that this form always sends; decode-checking drops
them as it does for JSON. (kubectl `create` and helm send their bodies in this form only.)
"""

import base64
import functools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from minikube_py.api import schema, times
from minikube_py.api.object import Obj
from minikube_py.api.raw_text import RawText
from minikube_py.lib.protowire import Adapter, Codec, WireError

MAGIC = b"k8s\0"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_PROPS = _EXTENSIONS + "JSONSchemaProps"
_UNKNOWN: Mapping[str, Mapping[str, Any]] = {
    "Unknown": {
        "typeMeta": [1, "TypeMeta"],
        "raw": [2, "bytes"],
        "contentEncoding": [3, "string"],
        "contentType": [4, "string"],
    },
    "TypeMeta": {"apiVersion": [1, "string"], "kind": [2, "string"]},
    "WatchEvent": {"type": [1, "string"], "object": [2, "RawExtension"]},
    "RawExtension": {"raw": [1, "bytes"]},
}
_ENVELOPE = Codec(_UNKNOWN)
_SPECIAL_MESSAGES: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"string": [1, "string"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "type": [1, "int64"],
        "intVal": [2, "int32"],
        "strVal": [3, "string"],
    },
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"raw": [1, "bytes"]},
    f"{_META}.Time": {"seconds": [1, "int64"], "nanos": [2, "int32"]},
    f"{_META}.MicroTime": {"seconds": [1, "int64"], "nanos": [2, "int32"]},
    f"{_META}.Duration": {"duration": [1, "int64"]},
    f"{_META}.FieldsV1": {"Raw": [1, "bytes"]},
    _EXTENSIONS + "JSON": {"raw": [1, "bytes"]},
    _EXTENSIONS + "JSONSchemaPropsOrArray": {
        "schema": [1, _PROPS],
        "jSONSchemas": [2, _PROPS, "repeated"],
    },
    _EXTENSIONS + "JSONSchemaPropsOrBool": {"allows": [1, "bool"], "schema": [2, _PROPS]},
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": {
        "schema": [1, _PROPS],
        "property": [2, "string", "repeated"],
    },
}


def decode(data: bytes) -> dict[str, Any]:
    """Return the document of an envelope, with apiVersion and kind.

    Raises:
        ValueError: the bytes are no envelope, or of a kind that has no message.

    """
    if not data.startswith(MAGIC):
        raise ValueError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    unknown = _ENVELOPE.decode("Unknown", data[len(MAGIC) :])
    meta = unknown.get("typeMeta", {})
    api_version, kind = meta.get("apiVersion", ""), meta.get("kind", "")
    if unknown.get("contentEncoding"):
        raise ValueError(f"content encoding {unknown['contentEncoding']!r} is not supported")
    head = {"kind": kind, "apiVersion": api_version}
    raw = unknown.get("raw", b"")
    if unknown.get("contentType") == "application/json":
        return {**head, **orjson.loads(raw)}
    return {**head, **_decode_message(_message_name(api_version, kind), raw)}


def encode(document: Obj) -> bytes:
    """Return the envelope of a document that has apiVersion and kind.

    Raises:
        ValueError: the kind has no message, or a field does not fit it.

    """
    api_version, kind = document.get("apiVersion", ""), document.get("kind", "")
    message = {k: v for k, v in document.items() if k not in ("apiVersion", "kind")}
    raw = _encode_message(_message_name(api_version, kind), message)
    envelope = {"typeMeta": {"apiVersion": api_version, "kind": kind}, "raw": raw}
    return MAGIC + _ENVELOPE.encode("Unknown", envelope)


def has_message(api_version: str, kind: str) -> bool:
    """Tell whether a kind can be sent in this form; custom kinds cannot."""
    return any(name in _lines() for name in _candidates(api_version, kind))


def watch_frame(event: str, document: Obj) -> bytes:
    """Return one event of a watch in this form, with the length that goes before it."""
    body = {"type": event, "object": {"raw": encode(document)}}
    frame = _ENVELOPE.encode("WatchEvent", body)
    return struct.pack(">I", len(frame)) + frame


# --- messages -------------------------------------------------------------------------------------


@functools.cache
def _lines() -> dict[str, bytes]:
    return schema.read_lines("protobuf.bin")


class _Messages(Mapping[str, Mapping[str, Any]]):
    """The table, a message parsed when the codec asks for it."""

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        special = _SPECIAL_MESSAGES.get(name)
        if special is not None:
            return special
        fields: dict[str, list[Any]] = orjson.loads(_lines()[name])
        return {
            # A fourth word is ours; the codec knows the labels of protobuf only.
            field: [word for word in spec if word != "inline"]
            for field, spec in fields.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter((*_SPECIAL_MESSAGES, *_lines()))

    def __len__(self) -> int:
        return len(_SPECIAL_MESSAGES) + len(_lines())


@functools.cache
def _codec() -> Codec:
    return Codec(_Messages(), explicit_presence=True, adapter=_adapter)


def _decode_message(name: str, raw: bytes) -> dict[str, Any]:
    message = _codec().decode(name, raw)
    adapter = _adapter(name)
    return message if adapter is None else adapter.from_message(message)


def _encode_message(name: str, message: Mapping[str, Any]) -> bytes:
    adapter = _adapter(name)
    return _codec().encode(name, message if adapter is None else adapter.to_message(message))


def _candidates(api_version: str, kind: str) -> tuple[str, ...]:
    """Return the names that the message of a kind may have."""
    group, _, version = api_version.rpartition("/")
    return (
        f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}",
        f"{_EXTENSIONS}{kind}",
        f"io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{kind}",
        f"io.k8s.metrics.pkg.apis.metrics.{version}.{kind}",
        f"{_META}.{kind}",
    )


def _message_name(api_version: str, kind: str) -> str:
    for name in _candidates(api_version, kind):
        if name in _lines():
            return name
    raise ValueError(f'no kind "{kind}" is registered for version "{api_version}"')


# --- adapters -------------------------------------------------------------------------------------


@functools.cache
def _adapter(name: str) -> Adapter | None:
    """Return how a message is shown in JSON, None where that is the dict of its fields."""
    special = _ADAPTERS.get(name)
    if special is not None or name not in _lines():
        return special
    fields: dict[str, list[Any]] = orjson.loads(_lines()[name])
    if "" in fields:  # a named list
        return Adapter(lambda message: message.get("", []), lambda value: {"": value})
    shown = _Struct(
        inline={
            field: frozenset(_json_fields(spec[1]))
            for field, spec in fields.items()
            if spec[-1] == "inline"
        },
        binary=frozenset(field for field, spec in fields.items() if spec[1] == "bytes"),
        binary_maps=frozenset(f for f, spec in fields.items() if spec[1] == "map<string,bytes>"),
        bare="metadata" in fields and "kind" not in fields,
    )
    if not (shown.inline or shown.binary or shown.binary_maps or shown.bare):
        return None
    return Adapter(shown.from_message, shown.to_message)


def _json_fields(name: str) -> Iterator[str]:
    """Yield the fields that JSON shows of a message, those of embedded structs included."""
    for field, spec in orjson.loads(_lines()[name]).items():
        if spec[-1] == "inline":
            yield from _json_fields(spec[1])
        else:
            yield field


@dataclass(frozen=True)
class _Struct:
    """How a struct with embedded structs, bytes, or a kind of its own is shown."""

    inline: Mapping[str, frozenset[str]]
    """Embedded structs and the fields that JSON shows of each."""
    binary: frozenset[str]
    binary_maps: frozenset[str]
    bare: bool
    """JSON shows apiVersion and kind, which the envelope says in this form."""

    def from_message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON of a message."""
        for field in self.inline:
            message.update(message.pop(field, ()))
        for field in self.binary & message.keys():
            message[field] = _to_base64(message[field])
        for field in self.binary_maps & message.keys():
            message[field] = {key: _to_base64(value) for key, value in message[field].items()}
        return message

    def to_message(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message of a JSON object."""
        message = dict(value)
        if self.bare:
            message.pop("kind", None)
            message.pop("apiVersion", None)
        for field, names in self.inline.items():
            if embedded := {name: message.pop(name) for name in names & message.keys()}:
                message[field] = embedded
        for field in self.binary & message.keys():
            message[field] = base64.b64decode(message[field] or "")
        for field in self.binary_maps & message.keys():
            entries = message[field] or {}
            message[field] = {key: base64.b64decode(text or "") for key, text in entries.items()}
        return message


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _moment(message: Mapping[str, int]) -> datetime:
    try:
        whole = datetime.fromtimestamp(message.get("seconds", 0), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise WireError(f"time is out of range: {error}") from None
    return whole.replace(microsecond=message.get("nanos", 0) // 1000 % 1_000_000)


def _time_from(message: dict[str, Any]) -> str | None:
    if not message:
        return None  # Go's zero time
    return times.format_seconds(_moment(message))


def _time_to(text: str) -> dict[str, int]:
    return {"seconds": int(times.parse(text).timestamp()), "nanos": 0}


def _micro_from(message: dict[str, Any]) -> str | None:
    if not message:
        return None
    return times.format_micros(_moment(message))


def _micro_to(text: str) -> dict[str, int]:
    moment = times.parse(text)
    whole = moment.replace(microsecond=0)
    return {"seconds": int(whole.timestamp()), "nanos": moment.microsecond * 1000}


def _duration_from(message: dict[str, Any]) -> str:
    return times.format_duration(message.get("duration", 0))


def _duration_to(text: str) -> dict[str, int]:
    return {"duration": round(times.parse_duration(text) * 1_000_000_000)}


def _either_from(message: dict[str, Any]) -> int | str:
    value: int | str = (
        message.get("strVal", "") if message.get("type") == 1 else message.get("intVal", 0)
    )
    return value


def _either_to(value: int | str) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": 1, "intVal": 0, "strVal": value}
    return {"type": 0, "intVal": value, "strVal": ""}


def _raw(field: str, *, in_order: bool = False) -> Adapter:
    """Return the adapter of a value that is sent as JSON, with its keys in order if so asked."""
    option = orjson.OPT_SORT_KEYS if in_order else 0

    def from_message(message: dict[str, Any]) -> Any:
        raw = message.get(field, b"")
        if raw.startswith(MAGIC):
            return decode(raw)
        try:
            return orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError as error:
            raise WireError(f"raw value is no JSON: {error}") from None

    return Adapter(from_message, lambda value: {field: orjson.dumps(value, option=option)})


def _raw_text(field: str) -> Adapter:
    """Return the adapter of a value whose text counts."""
    plain = _raw(field)

    def from_message(message: dict[str, Any]) -> Any:
        value, raw = plain.from_message(message), message.get(field, b"")
        if isinstance(value, dict) and raw != orjson.dumps(value) and not raw.startswith(MAGIC):
            return RawText(value, raw.decode())
        return value

    def to_message(value: Any) -> dict[str, Any]:
        if isinstance(value, RawText):
            return {field: value.text.encode()}
        return dict(plain.to_message(value))

    return Adapter(from_message, to_message)


def _props_or(field: str, empty: Any) -> Adapter:
    def from_message(message: dict[str, Any]) -> Any:
        if "schema" in message:
            return message["schema"]
        return message.get(field, empty)

    def to_message(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            return {field: value}
        # A schema implies that the value is allowed.
        return {"schema": value, field: True} if field == "allows" else {"schema": value}

    return Adapter(from_message, to_message)


_ADAPTERS: Mapping[str, Adapter] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Adapter(
        lambda message: message.get("string", "0"), lambda text: {"string": text}
    ),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Adapter(_either_from, _either_to),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _raw_text("raw"),
    f"{_META}.Time": Adapter(_time_from, _time_to),
    f"{_META}.MicroTime": Adapter(_micro_from, _micro_to),
    f"{_META}.Duration": Adapter(_duration_from, _duration_to),
    # Who compares an object with one that was read as JSON compares the text of these sets, which
    # an unstructured client has put in order.
    f"{_META}.FieldsV1": _raw("Raw", in_order=True),
    _EXTENSIONS + "JSON": _raw("raw"),
    _EXTENSIONS + "JSONSchemaPropsOrArray": _props_or("jSONSchemas", []),
    _EXTENSIONS + "JSONSchemaPropsOrBool": _props_or("allows", empty=False),
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": _props_or("property", []),
}
