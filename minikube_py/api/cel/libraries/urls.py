"""Kubernetes' `url(text)` and its parts: absolute URIs or absolute paths."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import BOOL, STRING, Type, list_of, map_of
from minikube_py.api.cel.values import Opaque

URL: Final = Type("kubernetes.URL")
_BAD: Final = re.compile(r"[\x00-\x20\x7f]|%(?![0-9A-Fa-f]{2})")


def parse(text: str) -> SplitResult | None:
    """Return the parts of a text that is a request URI."""
    if _BAD.search(text):
        return None
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where the port is no number
    except ValueError:
        return None
    return parts if parts.scheme or text.startswith("/") else None


def _url(text: str) -> Opaque:
    parts = parse(text)
    if parts is None:
        raise CelEvaluationError(
            "URL parse error during conversion from string: "
            f'parse "{text}": invalid URI for request'
        )
    return Opaque(URL, parts)


def _host(url: Opaque) -> str:
    return str(url.value.netloc.rpartition("@")[2])


def _hostname(url: Opaque) -> str:
    host = _host(url)
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port(url: Opaque) -> str:
    return _host(url).rpartition("]")[2].partition(":")[2]


def _query(url: Opaque) -> Mapping[str, Any]:
    found: dict[str, list[str]] = {}
    for key, value in parse_qsl(url.value.query, keep_blank_values=True):
        found.setdefault(key, []).append(value)
    return found


_TEXTS: Final = map_of(STRING, list_of(STRING))

OVERLOADS: Final = (
    Overload("url", (STRING,), URL, _url, cost=cost.first),
    Overload("isURL", (STRING,), BOOL, lambda text: parse(text) is not None, cost=cost.first),
    member("getScheme", (URL,), STRING, lambda url: url.value.scheme),
    member("getHost", (URL,), STRING, _host),
    member("getHostname", (URL,), STRING, _hostname),
    member("getPort", (URL,), STRING, _port),
    member("getEscapedPath", (URL,), STRING, lambda url: url.value.path),
    member("getQuery", (URL,), _TEXTS, _query),
)
