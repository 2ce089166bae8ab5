"""Users by client certificate: the common name is the user, the organizations are the groups.

TLS has verified the chain before; here the subject is only read, once per certificate.
"""

import hashlib
from functools import lru_cache

from minikube_py.server.attributes import Credentials, User

CACHE_MAX = 1024
"""Certificates whose user is remembered; a cluster has a few per node."""
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class ClientCertificates:
    """Knows the user of a connection by its client certificate."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user that the certificate names; None without one, or without a name."""
        der = credentials.peer_certificate
        return user_of(der) if der else None


@lru_cache(maxsize=CACHE_MAX)
def user_of(der: bytes) -> User | None:
    """Return the user that a certificate names, None where its common name is empty."""
    from cryptography import x509  # noqa: PLC0415 -- 60 ms that a test of the chain can spare
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    subject = x509.load_der_x509_certificate(der).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if not names or not names[0].value:
        return None
    digest = hashlib.sha256(der).hexdigest()
    return User(
        name=str(names[0].value),
        groups=tuple(str(group.value) for group in groups),
        extra={CREDENTIAL_ID: (f"X509SHA256={digest}",)},
    )
