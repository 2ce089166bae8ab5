"""Which authority a client certificate comes from: users, or proxies that speak for users.

Both authorities are known to TLS, which has verified the chain before; here the two are told
apart. A leaf that an authority signed itself is found by its signature; one below an intermediate
by the chain that TLS verified. What is neither is nobody's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web

from minikube_py.server.attributes import User

CACHE_MAX = 1024
"""Certificates that are remembered; a cluster has a few per node."""
ENCODING_DER = 2
"""What Python's ssl calls `_ssl.ENCODING_DER`."""
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class Identity(NamedTuple):
    """What a certificate says."""

    user: User | None
    """The user it names, where it is of a user authority and has a common name."""
    proxy: str | None
    """The common name of a proxy, where it is of the authority of proxies."""


NOBODY = Identity(None, None)


@dataclass(frozen=True)
class Authorities:
    """The certificates of authorities, as PEM bundles."""

    users: bytes
    proxies: bytes = b""


class Trust:
    """Reads client certificates; remembers those it has read."""

    def __init__(self, authorities: Authorities) -> None:
        self.replace(authorities)

    def replace(self, authorities: Authorities) -> None:
        """Judge by other authorities from now on.

        Raises:
            ValueError: a bundle holds something else.

        """
        from cryptography import x509  # noqa: PLC0415 -- 60 ms that a test of the chain can spare

        users = x509.load_pem_x509_certificates(authorities.users)
        proxies = authorities.proxies
        self._proxies = x509.load_pem_x509_certificates(proxies) if proxies else []
        self._users = users
        self._known: dict[bytes, Identity] = {}

    def identity(self, der: bytes, connection: Any = None) -> Identity:
        """Return what a certificate says; `connection` is the SSLObject that verified it."""
        known = self._known.get(der)
        if known is None:
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            known = self._known[der] = self._read(der, connection)
        return known

    def of(self, request: web.BaseRequest) -> User | None:
        """Return the user that the certificate of a request's connection names."""
        transport = request.transport
        connection = transport.get_extra_info("ssl_object") if transport is not None else None
        der = connection.getpeercert(binary_form=True) if connection is not None else None
        return self.identity(der, connection).user if der else None

    def _read(self, der: bytes, connection: Any) -> Identity:
        from cryptography import x509  # noqa: PLC0415

        leaf = x509.load_der_x509_certificate(der)
        if _is_of(leaf, self._proxies, connection):
            return Identity(None, _common_name(leaf))
        if _is_of(leaf, self._users, connection):
            return Identity(_user(leaf, der), None)
        return NOBODY


def _root(connection: Any) -> bytes | None:
    """Return the DER of the end of the chain that TLS verified; None for a resumed session.

    The method is public from Python 3.13 on; before, the object inside has it.
    """
    inner = getattr(connection, "_sslobj", None)
    chain = inner.get_verified_chain() if inner is not None else None
    return bytes(chain[-1].public_bytes(ENCODING_DER)) if chain else None


def _is_of(leaf: Any, authorities: Sequence[Any], connection: Any) -> bool:
    if any(_signed(leaf, authority) for authority in authorities):
        return True
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    root = _root(connection)
    return root is not None and any(
        root == authority.public_bytes(Encoding.DER) for authority in authorities
    )


def _signed(leaf: Any, authority: Any) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _user(leaf: Any, der: bytes) -> User | None:
    """Return the user that a certificate names, None where its common name is empty."""
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    name = _common_name(leaf)
    if not name:
        return None
    groups = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    digest = hashlib.sha256(der).hexdigest()
    return User(
        name=name,
        groups=tuple(str(group.value) for group in groups),
        extra={CREDENTIAL_ID: (f"X509SHA256={digest}",)},
    )


def _common_name(leaf: Any) -> str:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
