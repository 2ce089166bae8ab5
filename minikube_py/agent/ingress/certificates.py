"""Certificates by the name that a client asks for: taken from secrets, replaced without a restart.

One context listens; it hands each handshake over to the context of the name that is asked for.
Keys go from memory to the TLS library by a file in memory and never lie on a disk.
"""

import base64
import binascii
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from minikube_py.agent.ingress.routes import Table, candidates
from minikube_py.api.object import Obj, get
from minikube_py.lib import pki, tls

log = logging.getLogger(__name__)
OWN_LIFE = timedelta(days=3650)
SecretOf = Callable[[str, str], Obj | None]
"""Namespace and name -> secret."""
Pem = tuple[bytes, bytes]
"""Certificate chain and key."""


class Certificates:
    """The contexts of all hosts; `server` is what a listening socket is given."""

    def __init__(self, now: datetime) -> None:
        self.server = context_of(_self_signed(now))
        self.server.sni_callback = self._choose
        self._contexts: dict[Pem, ssl.SSLContext] = {}
        self._by_host: Mapping[str, ssl.SSLContext] = {}

    def set(self, table: Table, secret: SecretOf) -> None:
        """Take the certificates that the table names; connections that are open keep theirs."""
        known = {one: pem_of(secret(*one)) for one in sorted(table.secrets)}
        contexts: dict[Pem, ssl.SSLContext] = {}
        for (namespace, name), pem in known.items():
            if pem is None:
                log.debug("no certificate in secret=%s/%s", namespace, name)
                continue
            try:
                contexts[pem] = self._contexts.get(pem) or context_of(pem)
            except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
                # The library's words say what is wrong with the pair and nothing of the key.
                log.warning("certificate not usable secret=%s/%s error=%s", namespace, name, error)
        self._contexts = contexts
        hosts = table.certificates.items()
        found = {host: list(_usable(secrets, known, contexts)) for host, secrets in hosts}
        self._by_host = {host: usable[0] for host, usable in found.items() if usable}

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> None:
        for host in candidates(name or ""):
            if host in self._by_host:
                connection.context = self._by_host[host]
                return


def _usable(
    secrets: tuple[tuple[str, str], ...],
    known: Mapping[tuple[str, str], Pem | None],
    contexts: Mapping[Pem, ssl.SSLContext],
) -> Iterator[ssl.SSLContext]:
    for one in secrets:
        pem = known.get(one)
        if pem is not None and pem in contexts:
            yield contexts[pem]


def pem_of(secret: Obj | None) -> Pem | None:
    """Return certificate and key of a secret of type kubernetes.io/tls; None where it has none."""
    texts = [get(secret, ("data", name)) for name in ("tls.crt", "tls.key")]
    try:
        chain, key = (base64.b64decode(text or "") for text in texts)
    except binascii.Error:
        return None
    return (chain, key) if chain and key else None


def context_of(pem: Pem) -> ssl.SSLContext:
    """Return a server's context with a certificate; raises OSError where the pair is no good."""
    context = tls.server_context("VersionTLS12", ())
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(file, b"\n".join(pem))
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context


def _self_signed(now: datetime) -> Pem:
    """Return what hosts without a certificate are served with; no client trusts it."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 -- heavy

    key = pki.new_key()
    name = pki.subject_name(pki.Subject(name="kpy ingress default certificate"))
    made = pki.builder(name, name, key.public_key(), (now, now + OWN_LIFE))
    signed = made.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), pki.key_to_pem(key)
