"""Who may approve and sign certificates of which signer, and which certificates nobody gets.

The three plugins and their texts are those of upstream's `plugin/pkg/admission/certificates`.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.fields import quote
from minikube_py.api.object import get
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin, Attributes, Authorizer, User

API_CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
MASTERS: Final = "system:masters"


def may(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    """Tell whether a user may do something in a signer's name, or of all of its domain."""
    domain = signer.partition("/")[0]
    return any(
        authorizer.authorize(
            Attributes(
                user=user,
                verb=verb,
                group="certificates.k8s.io",
                version="*",
                resource="signers",
                name=name,
            )
        ).allowed
        for name in (signer, f"{domain}/*")
    )


class CertificateApproval(AdmissionPlugin):
    """Approves and denies need a right on the signer."""

    name = "CertificateApproval"
    resources = (CERTIFICATESIGNINGREQUESTS,)

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check who decides; the signer is that of the stored request, which cannot change."""
        if not _is_update_of(admission, "approval"):
            return ()
        signer = get(admission.old, "spec.signerName", "")
        if not may(self._authorizer, admission.user, "approve", signer):
            text = f"user not permitted to approve requests with signerName {quote(signer)}"
            raise forbidden(admission, text)
        return ()


class CertificateSigning(AdmissionPlugin):
    """Issuing a certificate, or saying why not, needs a right on the signer."""

    name = "CertificateSigning"
    resources = (CERTIFICATESIGNINGREQUESTS,)

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check who writes certificate or conditions."""
        if not _is_update_of(admission, "status"):
            return ()
        new, old = admission.obj, admission.old
        paths = ("status.certificate", "status.conditions")
        if all((get(new, path) or None) == (get(old, path) or None) for path in paths):
            return ()
        signer = get(old, "spec.signerName", "")
        if not may(self._authorizer, admission.user, "sign", signer):
            text = f"user not permitted to sign requests with signerName {quote(signer)}"
            raise forbidden(admission, text)
        return ()


class CertificateSubjectRestriction(AdmissionPlugin):
    """No certificate makes its holder a member of the group that may do everything."""

    name = "CertificateSubjectRestriction"
    resources = (CERTIFICATESIGNINGREQUESTS,)

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check the subject of a new request for a client certificate."""
        if admission.resource is not CERTIFICATESIGNINGREQUESTS or admission.subresource:
            return ()
        if admission.operation != "CREATE":
            return ()
        if get(admission.obj, "spec.signerName") != API_CLIENT_SIGNER:
            return ()
        try:
            groups = organizations(get(admission.obj, "spec.request", ""))
        except ValueError as error:
            raise forbidden(admission, f"failed to parse CSR: {error}") from error
        if MASTERS in groups:
            raise forbidden(
                admission,
                f"use of {API_CLIENT_SIGNER} signer with {MASTERS} group is not allowed",
            )
        return ()


def organizations(request: str) -> list[str]:
    """Return the organizations that a request names; raises ValueError for one that is broken."""
    return _names(request, "O")


def common_names(request: str) -> list[str]:
    """Return the common names that a request names; raises ValueError for one that is broken."""
    return _names(request, "CN")


def _names(request: str, attribute: str) -> list[str]:
    from cryptography import x509  # noqa: PLC0415 -- heavy, and few requests are made

    try:
        pem = base64.b64decode(request, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    subject = x509.load_pem_x509_csr(pem).subject
    return [str(name.value) for name in subject if name.rfc4514_attribute_name == attribute]


def _is_update_of(admission: Admission, subresource: str) -> bool:
    return (
        admission.resource is CERTIFICATESIGNINGREQUESTS
        and admission.operation == "UPDATE"
        and admission.subresource == subresource
    )
