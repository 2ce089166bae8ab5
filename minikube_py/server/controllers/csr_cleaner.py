"""Requests for certificates that are over are deleted.

Those with an answer stay an hour, those without a day, and none outlives its certificate.
Upstream: pkg/controller/certificates/cleaner.
"""

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta

from minikube_py.api import times
from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.object import Key, Obj, get, uid_of
from minikube_py.client.actions import Delete
from minikube_py.client.controller import Context, Controller

ANSWERED = timedelta(hours=1)
PENDING = timedelta(hours=24)


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Delete one request when it is over; look again when it will be."""
    csr = ctx.lister(CERTIFICATESIGNINGREQUESTS).get(key)
    end = None if csr is None else min(ends(csr), default=None)
    if csr is None or end is None:
        return None
    left = (end - ctx.now()).total_seconds()
    if left > 0:
        return left
    await ctx.apply([Delete(CERTIFICATESIGNINGREQUESTS, key, uid_of(csr))])
    return None


def ends(csr: Obj) -> Iterator[datetime]:
    """Yield every moment from which the request is over."""
    certificate, conditions = get(csr, "status.certificate"), get(csr, "status.conditions", ())
    if not certificate and not conditions:
        yield times.parse(csr["metadata"]["creationTimestamp"]) + PENDING
    for condition in conditions:
        answered = condition["type"] in ("Denied", "Failed")
        if answered or (condition["type"] == "Approved" and certificate):
            since = condition.get("lastUpdateTime") or csr["metadata"]["creationTimestamp"]
            yield times.parse(since) + ANSWERED
        if condition["type"] == "Approved" and certificate:
            yield from _end_of(certificate)


def _end_of(certificate: str) -> Iterator[datetime]:
    from cryptography import x509  # noqa: PLC0415 -- few clusters need it

    try:
        yield x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc
    except ValueError:
        return


CONTROLLER = Controller(
    name="certificatesigningrequest-cleaner-controller",
    user="certificate-controller",
    watches=CERTIFICATESIGNINGREQUESTS,
    reconcile=reconcile,
)
