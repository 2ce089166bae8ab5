"""The options of `kpy etcd`; the names are etcd's."""

from dataclasses import dataclass
from pathlib import Path

from minikube_py.datastore.retention import HISTORY_BYTES, PASSING, Retention
from minikube_py.datastore.tls_files import TlsFiles
from minikube_py.lib.options import option


@dataclass(frozen=True, kw_only=True)
class EtcdConfig:
    """What a face is told."""

    data_dir: Path = option(Path("/var/lib/kpy"), "folder of the datastore, where that is SQLite")
    datastore_endpoint: str = option(
        "", "URL of the datastore (default: SQLite in --data-dir)", secret=True
    )
    datastore_cafile: str = option("", "certificates that the datastore's is checked against")
    datastore_certfile: str = option("", "certificate that is shown to the datastore")
    datastore_keyfile: str = option("", "key of that certificate")
    listen_client_urls: tuple[str, ...] = option(
        ("http://127.0.0.1:2379",), "URLs to listen on for clients, http or https"
    )
    name: str = option("kpy", "name of this member")
    cert_file: str = option("", "certificate that clients are shown")
    key_file: str = option("", "key of that certificate")
    trusted_ca_file: str = option(
        "", "authority of clients' certificates; whoever shows none is refused then"
    )
    auto_compaction_retention: str = option(
        "0", "how long old revisions can be read (0: until a client compacts them)"
    )
    history_retention_bytes: int = option(
        HISTORY_BYTES,
        "size of the history for kpy history that a compaction leaves; that of the kpy server"
        " whose datastore it is; 0 keeps none",
    )

    @property
    def retention(self) -> Retention:
        """What history the datastore keeps; the same rule as a server's, or that would go."""
        return Retention(self.history_retention_bytes, PASSING)

    @property
    def datastore_tls(self) -> TlsFiles:
        """By what the datastore is trusted, and who we are to it."""
        return TlsFiles(self.datastore_cafile, self.datastore_certfile, self.datastore_keyfile)

    @property
    def tls(self) -> TlsFiles:
        """Who we are to clients, and which of them are trusted."""
        return TlsFiles(self.trusted_ca_file, self.cert_file, self.key_file)
