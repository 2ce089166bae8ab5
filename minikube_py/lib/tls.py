"""TLS settings under the names that Go programs give them, and contexts that can be replaced.

A `ReloadingContext` is handed to a server or client once; each new connection uses what it holds
at that time, so certificates change without a restart and open connections go on undisturbed.
"""

import logging
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from minikube_py.lib import inotify
from minikube_py.lib.fsutil import read_if_there

log = logging.getLogger(__name__)
MIN_VERSIONS: Mapping[str, ssl.TLSVersion] = {
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}
"""Names of `--tls-min-version`; older versions are refused everywhere (RFC 8996)."""
CIPHER_SUITES: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}
"""Go's name -> OpenSSL's; those of TLS 1.3 are always on, there as here."""


class ReloadingContext(ssl.SSLContext):
    """Stands for another context, which may be replaced."""

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> Self:
        """Make one that stands for `current`."""
        context = super().__new__(cls, current.protocol)
        context.current = current
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection with what is current."""
        return self.current.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Begin a connection with what is current."""
        return self.current.wrap_socket(*args, **kwargs)


@cache
def unverified() -> ssl.SSLContext:
    """Return the settings of a client that does not ask who answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(min_version: str, cipher_suites: Sequence[str]) -> ssl.SSLContext:
    """Return a server's context without certificates; the names must be known ones.

    Sessions are not resumed: a client certificate is verified on every connection, and a ticket
    for each would cost memory that idle connections do not need.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MIN_VERSIONS[min_version]
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    names = [CIPHER_SUITES[name] for name in cipher_suites]
    older = ":".join(name for name in names if name)
    if older:
        context.set_ciphers(older)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def follow(
    context: ReloadingContext, files: Sequence[Path], make: Callable[[], ssl.SSLContext]
) -> None:
    """Make the context anew whenever one of its files changes; what makes no sense is left."""
    seen: tuple[bytes | None, ...] = ()  # the files may have changed since the context was made

    async def look() -> None:
        nonlocal seen
        contents = _contents(files)
        if contents == seen:
            return
        try:
            context.current = make()
        except OSError as error:
            log.warning("changed certificate not used error=%s", error)
        else:
            seen = contents

    await inotify.follow((path.parent for path in files), look)


def _contents(files: Sequence[Path]) -> tuple[bytes | None, ...]:
    return tuple(read_if_there(path) for path in files)


def load_from_memory(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key, which OpenSSL only reads from files, off the disk."""
    handle = os.memfd_create("certificate")
    try:
        os.write(handle, pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
