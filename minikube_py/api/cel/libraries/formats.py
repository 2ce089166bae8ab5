"""Kubernetes' named formats: `format.dns1123Label().validate(text)`."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.cel import cost, times
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.libraries import urls
from minikube_py.api.cel.types import STRING, Type, list_of, optional_of
from minikube_py.api.cel.values import NONE, Opaque, Optional

FORMAT: Final = Type("kubernetes.NamedFormat")
Check = Callable[[str], Sequence[str]]
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _prefix(check: Callable[[str], Any]) -> Check:
    return lambda text: tuple(check(names.as_prefix(text)))


def _uri(text: str) -> Sequence[str]:
    return () if urls.parse(text) is not None else (f'parse "{text}": invalid URI for request',)


def _uuid(text: str) -> Sequence[str]:
    try:
        uuid.UUID(text)
    except ValueError:
        return ("does not match the UUID format",)
    return ()


def _byte(text: str) -> Sequence[str]:
    return () if _BASE64.fullmatch(text) else ("invalid base64",)


def _date(text: str) -> Sequence[str]:
    complete = re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)
    return _moment(f"{text}T00:00:00Z", "invalid date") if complete else ("invalid date",)


def _date_time(text: str) -> Sequence[str]:
    return _moment(text, "invalid datetime")


def _moment(text: str, complaint: str) -> Sequence[str]:
    try:
        times.parse_timestamp(text)
    except CelEvaluationError:
        return (complaint,)
    return ()


FORMATS: Final[Mapping[str, Check]] = {
    "dns1123Label": names.dns1123_label,
    "dns1123Subdomain": names.dns1123_subdomain,
    "dns1035Label": names.dns1035_label,
    "qualifiedName": names.qualified_name,
    "dns1123LabelPrefix": _prefix(names.dns1123_label),
    "dns1123SubdomainPrefix": _prefix(names.dns1123_subdomain),
    "dns1035LabelPrefix": _prefix(names.dns1035_label),
    "labelValue": names.label_value,
    "uri": _uri,
    "uuid": _uuid,
    "byte": _byte,
    "date": _date,
    "datetime": _date_time,
}
"""What each format finds wrong with a text."""


def _named(name: str) -> Optional:
    return Optional(Opaque(FORMAT, name), present=True) if name in FORMATS else NONE


def _validate(format_: Opaque, text: str) -> Optional:
    messages = list(FORMATS[format_.value](text))
    return Optional(messages, present=True) if messages else NONE


def _maker(name: str) -> Callable[[], Opaque]:
    return lambda: Opaque(FORMAT, name)


OVERLOADS: Final[tuple[Overload, ...]] = (
    *(Overload(f"format.{name}", (), FORMAT, _maker(name)) for name in FORMATS),
    Overload("format.named", (STRING,), optional_of(FORMAT), _named),
    member("validate", (FORMAT, STRING), optional_of(list_of(STRING)), _validate, cost.affix),
)
