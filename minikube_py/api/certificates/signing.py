"""What a certificate signing request may ask for, and what an answer to it may hold."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError, quote
from minikube_py.api.object import Obj
from minikube_py.api.strategy import with_absent

SPEC, STATUS = Field("spec"), Field("status")
EXPIRATION_SECONDS_MIN = 600
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_STATUSES = ("False", "True", "Unknown")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n(.*?)-----END \1-----\s*", re.DOTALL)


def validate_request(spec: Obj) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a request."""
    request = spec.get("request")
    error = _request_error(_decoded(request))
    if error:
        yield (SPEC / "request").invalid(request or None, error)
    usages = spec.get("usages") or ()
    yield from _validate_usages(usages, SPEC / "usages")
    signer = spec.get("signerName", "")
    if signer == LEGACY_SIGNER:
        yield (SPEC / "signerName").invalid(
            signer, "the legacy signerName is not allowed via this API version"
        )
    else:
        yield from validate_signer_name(signer, SPEC / "signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < EXPIRATION_SECONDS_MIN:
        yield (SPEC / "expirationSeconds").invalid(
            seconds, "may not specify a duration less than 600 seconds (10 minutes)"
        )


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "")
    except binascii.Error:
        return b""


def _request_error(pem: bytes) -> str:
    """Say what keeps bytes from being a certificate request, "" where nothing does."""
    block = _PEM.search(pem)
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509  # noqa: PLC0415 -- heavy, and needed by few writes

    try:
        x509.load_pem_x509_csr(block[0])
    except ValueError as error:
        return str(error)
    return ""


def _validate_usages(usages: Sequence[str], field: Field) -> Iterator[FieldError]:
    if not usages:
        yield field.required()
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            yield field[index].unsupported(usage, USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            yield field[index].duplicate(usage)


def validate_signer_name(name: str, field: Field) -> Iterator[FieldError]:
    """Report a name that is not like `example.com/signer`."""
    if not name:
        yield field.required()
        return
    domain, slash, path = name.partition("/")
    if not slash or "/" in path:
        yield field.invalid(
            name, "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        )
        return
    if len(domain) > names.SUBDOMAIN_MAX:
        yield field.too_long(names.SUBDOMAIN_MAX)
    yield from _validate_labels(domain, names.dns1123_label, field)
    if "." not in domain:
        yield field.invalid(
            domain, "should be a domain with at least two segments separated by dots"
        )
    yield from _validate_labels(path, names.dns1123_subdomain, field)


def _validate_labels(text: str, check: names.Check, field: Field) -> Iterator[FieldError]:
    for label in text.split("."):
        for error in check(label):
            yield field.invalid(text, f"validating label {quote(label)}: {error}")


def stamp_conditions(csr: Obj, old: Obj, now: str) -> Obj:
    """Return a request whose conditions say when they were set; what they say already stays."""
    status: Obj = csr.get("status") or {}
    conditions = status.get("conditions")
    if not conditions:
        return csr
    known = {
        (condition.get("type"), condition.get("status")): condition.get("lastTransitionTime")
        for condition in (old.get("status") or {}).get("conditions") or ()
    }
    stamped = [_stamped(condition, known, now) for condition in conditions]
    return {**csr, "status": {**status, "conditions": stamped}}


def _stamped(
    condition: Obj, known: Mapping[tuple[str | None, str | None], str | None], now: str
) -> Obj:
    since = known.get((condition.get("type"), condition.get("status")))
    return with_absent(condition, {"lastUpdateTime": now, "lastTransitionTime": since or now})


def validate_conditions(new: Sequence[Obj], old: Sequence[Obj]) -> Iterator[FieldError]:
    """Report what is wrong with conditions; what was decided once stays decided."""
    field = STATUS / "conditions"
    seen: set[str] = set()
    for index, condition in enumerate(new):
        kind = condition.get("type", "")
        yield from _validate_condition(condition, field[index])
        rival = {APPROVED: DENIED, DENIED: APPROVED}.get(kind)
        if rival is not None and rival in seen:
            yield (field[index] / "type").invalid(
                kind, "Approved and Denied conditions are mutually exclusive"
            )
        if kind in seen:
            yield (field[index] / "type").duplicate(kind)
        seen.add(kind)
    before = {condition.get("type", "") for condition in old}
    for kind in (APPROVED, DENIED, FAILED):
        if kind in before and kind not in seen:
            yield field.forbidden(f"updates may not remove a condition of type {quote(kind)}")


def _validate_condition(condition: Obj, field: Field) -> Iterator[FieldError]:
    kind, status = condition.get("type", ""), condition.get("status", "")
    if not kind:
        yield (field / "type").required()
    if not status:
        yield (field / "status").required()
    elif status not in _STATUSES:
        yield (field / "status").unsupported(status, _STATUSES)
    elif kind in {APPROVED, DENIED, FAILED} and status != "True":
        yield (field / "status").unsupported(status, ("True",))


def validate_certificate(status: Obj, old: Obj) -> Iterator[FieldError]:
    """Report a certificate that is none, and one that replaces another."""
    field = STATUS / "certificate"
    certificate, before = status.get("certificate"), old.get("certificate")
    if before and certificate != before:
        yield field.forbidden("updates may not set certificate content to a different value")
    elif certificate:
        error = _certificate_error(_decoded(certificate))
        if error:
            yield field.invalid("<certificate data>", error)


def _certificate_error(pem: bytes) -> str:
    blocks = list(_PEM.finditer(pem))
    for block in blocks:
        if block[1] != b"CERTIFICATE":
            found = block[1].decode()
            return f"only CERTIFICATE PEM blocks are allowed, found {quote(found)}"
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    from cryptography import x509  # noqa: PLC0415 -- heavy, and needed by few writes

    try:
        for block in blocks:
            x509.load_pem_x509_certificate(block[0])
    except ValueError as error:
        return str(error)
    return ""
