"""The `extenders` of a KubeSchedulerConfiguration."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from minikube_py.api import names, times
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.lib.errors import StartError
from minikube_py.server.scheduler.extender import TIMEOUT_SECONDS, ExtenderConfig

VERBS = ("filter", "prioritize", "bind", "preempt")
KNOWN = (
    "urlPrefix",
    "weight",
    "enableHTTPS",
    "tlsConfig",
    "httpTimeout",
    "nodeCacheCapable",
    "managedResources",
    "ignorable",
    *(f"{verb}Verb" for verb in VERBS),
)


def extender_errors(given: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the form of extenders."""
    seen: set[str] = set()
    for place, one in enumerate(given):
        at = field[place]
        for key in sorted(one.keys() - set(KNOWN)):
            yield (at / key).forbidden("unknown field")
        if not one.get("urlPrefix"):
            yield (at / "urlPrefix").required()
        weight = one.get("weight", 0)
        if one.get("prioritizeVerb") and (not isinstance(weight, int) or weight <= 0):
            yield (at / "weight").invalid(weight, "must have a positive weight applied to it")
        for index, resource in enumerate(one.get("managedResources") or ()):
            name, path = resource.get("name", ""), (at / "managedResources")[index] / "name"
            yield from (path.invalid(name, text) for text in names.qualified_name(name))
            if name in seen:
                yield path.invalid(name, "duplicate extender managed resource name")
            seen.add(name)
    binders = sum(1 for one in given if one.get("bindVerb"))
    if binders > 1:
        text = f"found {binders} extenders implementing bind"
        yield field.invalid(text, "only one extender can implement bind")


def extenders_of(given: Sequence[Obj], path: str) -> Sequence[ExtenderConfig]:
    """Return extenders whose form is right.

    Raises:
        StartError: a certificate cannot be read, or the time-out is none.

    """
    try:
        return [_extender(one) for one in given]
    except (OSError, ValueError) as error:
        raise StartError(f"scheduler configuration {path}: extenders: {error}") from error


def _extender(one: Obj) -> ExtenderConfig:
    managed = one.get("managedResources") or ()
    return ExtenderConfig(
        url=one["urlPrefix"],
        verbs={verb: one.get(f"{verb}Verb", "") for verb in VERBS},
        weight=one.get("weight") or 1,
        timeout_seconds=seconds_of(one.get("httpTimeout")),
        context=_context(one),
        node_cache_capable=bool(one.get("nodeCacheCapable")),
        managed=frozenset(resource["name"] for resource in managed),
        unchecked=tuple(r["name"] for r in managed if r.get("ignoredByScheduler")),
        ignorable=bool(one.get("ignorable")),
    )


def seconds_of(text: object) -> float:
    """Return a duration of Go's form in seconds, 5 where there is none; raises ValueError."""
    return times.parse_duration(str(text)) if text else TIMEOUT_SECONDS


def _context(one: Obj) -> ssl.SSLContext | None:
    """Return the TLS of an extender; without authorities nothing is verified, as upstream does."""
    tls: Mapping[str, object] = one.get("tlsConfig") or {}
    if not tls and not one.get("enableHTTPS"):
        return None
    authorities = _read(tls, "ca")
    context = ssl.create_default_context(cadata=authorities.decode() if authorities else None)
    if tls.get("insecure") or not authorities:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _read(tls, "cert"), _read(tls, "key")
    if certificate:
        _present(context, certificate, key)
    return context


def _present(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Have a context prove who it is; OpenSSL reads that from files alone."""
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(pair)


def _read(tls: Mapping[str, object], what: str) -> bytes:
    """Return a certificate or key, of a file or in base64 on the spot."""
    data, file = tls.get(f"{what}Data"), tls.get(f"{what}File")
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise ValueError(f"tlsConfig.{what}Data is not base64") from error
    return Path(str(file)).read_bytes() if file else b""
