"""Who may speak to a face: TLS whose files are followed, and what a client's certificate must name.

Certificates renew themselves, so the files are looked at for every new connection.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from minikube_py.datastore.face.refusals import PERMISSION_DENIED, RefusedError
from minikube_py.datastore.tls_files import TlsFiles
from minikube_py.lib.errors import StartError
from minikube_py.lib.grpc import grpc_library

KNOWN_MAX = 1_000
"""Certificates whose organizations are remembered."""


def credentials(tls: TlsFiles) -> Any:
    """Return what gRPC serves TLS with.

    Raises:
        StartError: the files cannot be read, or there are none.

    """
    if not (tls.certificate and tls.key):
        raise StartError("https:// needs --cert-file and --key-file")
    try:
        seen = _contents(tls)
    except OSError as error:
        raise StartError(f"cannot read {error.filename}: {error.strerror}") from error
    current = [seen]

    def fetch() -> Any:
        """Return what the files say where they have changed; called by gRPC's own threads."""
        try:
            found = _contents(tls)
        except OSError:
            return None  # a half that is being written: what was good is kept
        if found == current[0]:
            return None
        current[0] = found
        return _configuration(found)

    return grpc_library().dynamic_ssl_server_credentials(
        _configuration(seen), fetch, require_client_authentication=bool(tls.ca)
    )


def _contents(tls: TlsFiles) -> tuple[bytes, bytes, bytes | None]:
    ca = Path(tls.ca).read_bytes() if tls.ca else None
    return Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes(), ca


def _configuration(contents: tuple[bytes, bytes, bytes | None]) -> Any:
    key, certificate, ca = contents
    return grpc_library().ssl_server_certificate_configuration(
        [(key, certificate)], root_certificates=ca
    )


class Access:
    """Lets in clients whose certificate names a group as its organization."""

    def __init__(self, group: str) -> None:
        """Take the group; empty lets in everybody whom TLS does."""
        self._group = group
        self._known: OrderedDict[bytes, bool] = OrderedDict()

    def check(self, context: Any) -> None:
        """Refuse a call of somebody else."""
        if not self._group:
            return
        shown = context.auth_context().get("x509_pem_cert", ())
        if not shown or not self._is_in_group(shown[0]):
            raise RefusedError(PERMISSION_DENIED)

    def _is_in_group(self, pem: bytes) -> bool:
        if (known := self._known.get(pem)) is not None:
            return known
        from cryptography import x509  # noqa: PLC0415 -- where certificates are asked for

        names = x509.load_pem_x509_certificate(pem).subject
        groups = names.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        answer = self._known[pem] = any(one.value == self._group for one in groups)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return answer
