"""The formats of texts that a schema may name, as kube-openapi's `strfmt` checks them."""

import base64
import binascii
import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from minikube_py.api import times

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,255}}\.?$){_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_EMAIL = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[A-Za-z0-9\[\]:.-]+", re.ASCII)
_DURATION = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_LONG_DURATION = re.compile(
    r"\d+\s*(?:ns|nano|nanosecond|us|µs|micro|microsecond|ms|milli|millisecond|s|sec|second|"
    r"m|min|minute|h|hr|hour|d|day|w|wk|week)s?",
    re.ASCII | re.IGNORECASE,
)
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2})*)", re.ASCII)
_UUIDS: Mapping[str, str] = {"uuid": "[0-9a-f]", "uuid3": "3", "uuid4": "4", "uuid5": "5"}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def _parsed(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _uuid(version: str) -> Callable[[str], bool]:
    pattern = (
        rf"[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}[0-9a-f]{{3}}-?[0-9a-f]{{4}}-?[0-9a-f]{{12}}"
    )
    return _matches(re.compile(pattern, re.IGNORECASE | re.ASCII))


def _uri(text: str) -> bool:
    return (_SCHEME.match(text) is not None or text.startswith("/")) and _parsed(urlsplit)(text)


def _cidr(text: str) -> bool:
    return "/" in text and _parsed(lambda t: ipaddress.ip_network(t, strict=False))(text)


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _parsed(times.canonical),
    "datetime": _parsed(times.canonical),
    "date": _parsed(lambda text: dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC)),
    "ipv4": _parsed(ipaddress.IPv4Address),
    "ipv6": _parsed(ipaddress.IPv6Address),
    "cidr": _cidr,
    "mac": _matches(_MAC),
    "uri": _uri,
    "email": _matches(_EMAIL),
    "hostname": _matches(_HOST),
    "duration": lambda text: bool(_DURATION.fullmatch(text) or _LONG_DURATION.fullmatch(text)),
    "byte": _parsed(lambda text: base64.b64decode(text, validate=True)),
    **{name: _uuid(version) for name, version in _UUIDS.items()},
}  # fmt: skip
"""By the name of the format; a format that is not here is not checked."""
