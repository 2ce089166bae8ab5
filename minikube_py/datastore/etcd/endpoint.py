"""From `--datastore-endpoint` to how the members of an etcd cluster are reached.

    https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379
    etcds://user:password@10.0.0.1:2379,10.0.0.2:2379

The forms are those of k3s (`http://`, `https://`, separated by commas); `etcd://` and `etcds://`
are the same with a name that says what is spoken there.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles

SCHEMES = ("etcd", "http", "etcds", "https")
SECURE = ("etcds", "https")
PORT = 2379


@dataclass(frozen=True)
class EtcdEndpoint:
    """The members of a cluster, `host:port` each, and who talks to them how."""

    members: Sequence[str]
    secure: bool = False
    tls: TlsFiles = NO_FILES
    user: str = ""
    password: str = field(default="", repr=False)

    def certificates(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Read whom to trust, and the key and certificate to show; they may have been renewed.

        Raises:
            DatastoreError: a file cannot be read.

        """
        ca = self.tls.ca or ssl.get_default_verify_paths().cafile or ""
        try:
            found = [
                Path(name).read_bytes() if name else None
                for name in (ca, self.tls.key, self.tls.certificate)
            ]
        except OSError as error:
            raise DatastoreError(f"datastore: {error.filename}: {error.strerror}") from error
        return found[0], found[1], found[2]


def etcd_endpoint(endpoint: str, tls: TlsFiles = NO_FILES) -> EtcdEndpoint:
    """Parse URLs of members; raises DatastoreError that never shows a password."""
    first = endpoint.partition("://")[0]
    members: list[str] = []
    user = password = ""
    for text in endpoint.split(","):
        url = text.strip() if "://" in text else f"{first}://{text.strip()}"
        try:
            parts = urlsplit(url)
            port = parts.port or PORT
        except ValueError as error:
            raise DatastoreError(f"datastore endpoint {first}://: {error}") from None
        if (parts.scheme in SECURE) != (first in SECURE) or parts.scheme not in SCHEMES:
            raise DatastoreError(
                f"datastore endpoint {first}://: {parts.scheme}:// among its members; all are"
                " reached by TLS or none is"
            )
        if not parts.hostname:
            raise DatastoreError(f"datastore endpoint {first}://: it names no host")
        if parts.path.strip("/") or parts.query:
            raise DatastoreError(
                f"datastore endpoint {first}://: {parts.path or '?' + parts.query!r} after a"
                " member; only hosts and ports are expected"
            )
        user = user or unquote(parts.username or "")
        password = password or unquote(parts.password or "")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        members.append(f"{host}:{port}")
    return EtcdEndpoint(tuple(members), first in SECURE, tls, user, password)
