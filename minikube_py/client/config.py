"""Where a server is and how a client proves who it is: what a kubeconfig's context says."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.lib.tls import load_from_memory


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """One server and one user; data wins over files. Secrets do not show in its repr."""

    server: str
    """`https://host:port`, without a path."""
    ca_data: bytes = b""
    """PEM of the authorities that the server is trusted by; without any, the system's."""
    ca_file: Path | None = None
    certificate_data: bytes = b""
    certificate_file: Path | None = None
    key_data: bytes = field(default=b"", repr=False)
    key_file: Path | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """Read anew when it changes, as projected service account tokens do."""
    tls_server_name: str = ""
    namespace: str = ""

    def files(self) -> tuple[Path, ...]:
        """Return the files that the TLS context is made of."""
        found = (self.ca_file, self.certificate_file, self.key_file)
        return tuple(path for path in found if path is not None)

    def ssl_context(self) -> ssl.SSLContext:
        """Make the TLS context; raises OSError or ssl.SSLError where the files are no good."""
        cafile = str(self.ca_file) if self.ca_file and not self.ca_data else None
        context = ssl.create_default_context(
            cafile=cafile, cadata=self.ca_data.decode() if self.ca_data else None
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_data and self.key_data:
            load_from_memory(context, self.certificate_data + b"\n" + self.key_data)
        elif self.certificate_file and self.key_file:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context
