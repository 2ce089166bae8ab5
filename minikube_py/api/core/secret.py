"""Secrets: settings that are not for everyone to read."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from minikube_py.api import names
from minikube_py.api.core import tls_pair
from minikube_py.api.core.configmap import SIZE_MAX, decoded_size, validate_immutable
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, annotations_of
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

SERVICE_ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
SERVICE_ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"
OF_SERVICE_ACCOUNT: Final = "kubernetes.io/service-account-token"
"""The type of secrets that hold a token without an end."""
LAST_USED: Final = "kubernetes.io/legacy-token-last-used"
"""The label with the day on which such a token was last seen."""
INVALID_SINCE: Final = "kubernetes.io/legacy-token-invalid-since"
"""The label with the day since which it lets nobody in, for nobody had used it for long."""
USE_TRACKING: Final = "kube-apiserver-legacy-service-account-token-tracking"
"""The config map in kube-system that says since when the use of such tokens is noted."""
_DATA: Final = Field("data")
_REDACTED: Final = "<secret contents redacted>"
_JSON_KEYS: Final = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def default(secret: Obj) -> Obj:
    """Fill in the type; what came as text joins the rest in base64."""
    changed = dict(secret)
    if not secret.get("type"):
        changed["type"] = "Opaque"
    text: Mapping[str, str] | None = changed.pop("stringData", None)
    if text:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        changed["data"] = {**(secret.get("data") or {}), **encoded}
    elif changed == secret:
        return secret
    return changed


def validate(secret: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated secret."""
    if old is not None:
        if secret.get("type") != old.get("type"):
            yield Field("type").immutable(secret.get("type"))
        if old.get("immutable"):
            yield from validate_immutable(secret, old, ("data",))
    data: Mapping[str, str] = secret.get("data") or {}
    size = 0
    for key, value in data.items():
        for message in names.config_map_key(key):
            yield _DATA[key].invalid(key, message)
        size += decoded_size(value)
    if size > SIZE_MAX:
        yield _DATA.too_long(SIZE_MAX)
    yield from _validate_type(secret, data)


def _validate_type(secret: Obj, data: Mapping[str, str]) -> Iterator[FieldError]:
    kind = secret.get("type") or ""
    if kind in _JSON_KEYS:
        yield from _validate_json(data, _JSON_KEYS[kind])
    elif kind == "kubernetes.io/service-account-token":
        if not annotations_of(secret).get(SERVICE_ACCOUNT_NAME):
            yield Field("metadata.annotations")[SERVICE_ACCOUNT_NAME].required()
    else:
        for key in _missing_keys(kind, data):
            yield _DATA[key].required()


def _missing_keys(kind: str, data: Mapping[str, str]) -> Sequence[str]:
    match kind:
        case "kubernetes.io/basic-auth":
            keys = ("username", "password")
            return () if any(key in data for key in keys) else keys
        case "kubernetes.io/ssh-auth":
            return () if data.get("ssh-privatekey") else ("ssh-privatekey",)
        case "kubernetes.io/tls":
            return [key for key in ("tls.crt", "tls.key") if key not in data]
        case _:
            return ()


def _validate_json(data: Mapping[str, str], key: str) -> Iterator[FieldError]:
    if key not in data:
        yield _DATA[key].required()
    elif problem := _json_problem(base64.b64decode(data[key])):
        yield _DATA[key].invalid(_REDACTED, problem)


def _json_problem(text: bytes) -> str:
    """Say in Go's words why bytes are no JSON object, as far as the two parsers agree."""
    if not text.strip():
        return "unexpected end of JSON input"
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if error.pos >= len(text.decode(errors="replace")):
            return "unexpected end of JSON input"
        return _syntax_problem(text.decode(errors="replace"), error.pos)
    if isinstance(value, dict) or value is None:
        return ""
    kinds = {str: "string", list: "array", bool: "bool", int: "number", float: "number"}
    target = "Go value of type map[string]interface {}"
    return f"json: cannot unmarshal {kinds[type(value)]} into {target}"


def _syntax_problem(text: str, position: int) -> str:
    char = text[position]
    if not text[:position].strip():
        return f"invalid character '{char}' looking for beginning of value"
    return f"invalid character '{char}' after top-level value"


def text_of(secret: Obj, key: str) -> str:
    """Return a value as text; "" where there is none, or none that can be read."""
    data: Mapping[str, str] = secret.get("data") or {}
    try:
        return base64.b64decode(data.get(key, ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def warn(secret: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield that certificate and key do not belong together; such a secret is let stand."""
    if secret.get("type") != "kubernetes.io/tls":
        return
    data: Mapping[str, str] = secret.get("data") or {}
    pair = (base64.b64decode(data.get(key, "")) for key in ("tls.crt", "tls.key"))
    if text := tls_pair.problem(*pair):
        yield text


def cells(secret: Obj) -> Sequence[Any]:
    """Return name, type, number of keys and age."""
    metadata = secret["metadata"]
    count = len(secret.get("data") or ())
    return metadata["name"], secret.get("type", ""), count, Age(metadata.get("creationTimestamp"))


SECRETS = Resource(
    kind="Secret",
    plural="secrets",
    schema="io.k8s.api.core.v1.Secret",
    columns=(NAME, Column("Type"), Column("Data"), AGE),
    cells=cells,
    default=default,
    validate=validate,
    warn=warn,
    metadata_checks=("update", "create"),
    selectable_fields={"type": lambda secret: secret.get("type", "")},
)
