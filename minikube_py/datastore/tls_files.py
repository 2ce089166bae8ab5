"""Files for TLS to a datastore: what `--datastore-cafile`, `-certfile` and `-keyfile` name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TlsFiles:
    """Paths of PEM files: who is trusted, and who the client is; empty: not given."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


NO_FILES = TlsFiles()
