"""Certificate signing requests: a certificate wanted, approved, issued.

Who asked is written into the spec by the server; the spec never changes after that. Approval and
the certificate have an endpoint each, and neither can touch what the other decides.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import printing, strategy
from minikube_py.api.certificates import signing
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj, get, has_condition
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import with_absent

_DECISIONS = frozenset({signing.APPROVED, signing.DENIED})
_SPEC = {"request": None, "signerName": ""}


def default(csr: Obj) -> Obj:
    """Fill in what is always shown."""
    csr = with_absent(csr, {"spec": {}, "status": {}})
    return strategy.changed(csr, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    missing = {key: value for key, value in _SPEC.items() if key not in spec}
    return {**spec, **missing} if missing else spec


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep all but the metadata."""
    return strategy.keeping(new, old, "spec", "status")


def prepare_for_approval(new: Obj, old: Obj) -> Obj:
    """Keep all but the conditions."""
    status = dict(old.get("status") or {})
    conditions = get(new, "status.conditions")
    if conditions is None:
        status.pop("conditions", None)
    else:
        status["conditions"] = conditions
    return {**strategy.keeping(new, old, "spec"), "status": status}


def prepare_for_status(new: Obj, old: Obj) -> Obj:
    """Keep the spec and what was decided; a signer adds the certificate or says why not."""
    status = dict(new.get("status") or {})
    before = {c["type"]: c for c in get(old, "status.conditions") or () if c["type"] in _DECISIONS}
    given = [c for c in status.get("conditions") or () if c.get("type") not in _DECISIONS]
    decided = [c for c in get(old, "status.conditions") or () if c["type"] in before]
    if decided or given:
        status["conditions"] = [*decided, *given]
    else:
        status.pop("conditions", None)
    return {**strategy.keeping(new, old, "spec"), "status": status}


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated request."""
    if old is None:
        yield from signing.validate_request(new["spec"])
        return
    yield from validate_status(new, old)


def validate_status(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    status, before = new.get("status") or {}, get(old, "status", {})
    yield from signing.validate_conditions(
        status.get("conditions") or (), before.get("conditions") or ()
    )
    yield from signing.validate_certificate(status, before)


def _conditions(csr: Obj) -> str:
    shown = [
        text
        for kind, text in (
            (signing.APPROVED, "Approved"),
            (signing.DENIED, "Denied"),
            (signing.FAILED, "Failed"),
        )
        if has_condition(csr, kind)
    ]
    if get(csr, "status.certificate"):
        shown.append("Issued")
    return ",".join(shown) or "Pending"


def cells(csr: Obj) -> Sequence[Any]:
    """Return the cells of a request's row."""
    spec: Obj = csr["spec"]
    seconds = spec.get("expirationSeconds")
    return (
        csr["metadata"]["name"],
        Age(get(csr, "metadata.creationTimestamp")),
        spec.get("signerName") or printing.NONE,
        spec.get("username", ""),
        printing.NONE if seconds is None else printing.human_duration(seconds),
        _conditions(csr),
    )


CERTIFICATESIGNINGREQUESTS = Resource(
    group="certificates.k8s.io",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    short_names=("csr",),
    schema="io.k8s.api.certificates.v1.CertificateSigningRequest",
    subresources=(
        Subresource(
            name="approval",
            shares_object=True,
            prepare_for_update=prepare_for_approval,
            validate=validate_status,
        ),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=prepare_for_status,
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        AGE,
        Column("SignerName"),
        Column("Requestor"),
        Column("RequestedDuration"),
        Column("Condition"),
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}, generation=False),
    prepare_for_update=prepare_for_update,
    validate=validate,
    selectable_fields={
        "spec.signerName": lambda csr: get(csr, "spec.signerName", ""),
    },
)
