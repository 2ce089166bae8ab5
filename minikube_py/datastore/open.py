"""From the URL of `--datastore-endpoint` to an open datastore."""

from collections.abc import Sequence
from pathlib import Path

from minikube_py.datastore.kv import Backend, DatastoreError
from minikube_py.datastore.retention import NO_HISTORY, Retention
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles
from minikube_py.lib.clock import Clock, SystemClock

FILE = Path("server/db/state.db")
"""The embedded datastore, below the data dir; its folder has mode 0700, the file 0600."""
DATABASES = ("postgres", "postgresql", "mysql")
ETCD = ("etcd", "etcds", "http", "https")


async def open_backend(
    endpoint: str,
    *,
    data_dir: Path,
    lazy_prefixes: Sequence[str] = (),
    tls: TlsFiles = NO_FILES,
    retention: Retention = NO_HISTORY,
    clock: Clock | None = None,
) -> Backend:
    """Open the datastore that an endpoint names: "" is SQLite in the data dir.

    `tls` says whom to trust and who to be where the endpoint is reached by TLS.
    `retention` says what history is kept beyond compaction, where the store can keep one.
    Updates of keys below `lazy_prefixes` are heartbeats: acknowledged before they are on disk.

    Raises:
        DatastoreError: the endpoint is not understood or the datastore cannot be used.

    """
    scheme = endpoint.partition("://")[0]
    path = sqlite_path(endpoint, data_dir)
    if path is not None:
        from minikube_py.datastore.sqlite import SqliteBackend  # noqa: PLC0415 -- heavy

        return await SqliteBackend.open(
            path,
            lazy_prefixes=lazy_prefixes,
            retention=retention,
            clock=clock or SystemClock(),
        )
    if scheme == "memory":
        from minikube_py.datastore.memory import MemoryBackend  # noqa: PLC0415

        return MemoryBackend(clock)
    if scheme in DATABASES:
        from minikube_py.datastore.shared.backend import SharedBackend  # noqa: PLC0415 -- heavy
        from minikube_py.datastore.shared.endpoint import database_endpoint  # noqa: PLC0415

        found = database_endpoint(endpoint, tls)
        return await SharedBackend.open(found, retention=retention, clock=clock)
    if scheme in ETCD:
        from minikube_py.datastore.etcd.backend import EtcdBackend  # noqa: PLC0415 -- heavy
        from minikube_py.datastore.etcd.endpoint import etcd_endpoint  # noqa: PLC0415

        return await EtcdBackend.open(etcd_endpoint(endpoint, tls), clock=clock)
    raise DatastoreError(
        f"datastore endpoint {scheme!r} is not known; leave it empty for SQLite in the data dir, "
        "name a database with postgres:// or mysql://, or use memory:// for a store that ends with"
        " the process"
    )


def sqlite_path(endpoint: str, data_dir: Path) -> Path | None:
    """Return the file of an embedded store, None where the endpoint names another kind.

    `sqlite://` alone is the usual file of the data dir, too.
    """
    scheme, _, rest = endpoint.partition("://")
    if not endpoint or (scheme == "sqlite" and not rest):
        return data_dir / FILE
    return Path(rest) if scheme == "sqlite" else None


def is_shared(endpoint: str) -> bool:
    """Whether several servers may use the datastore of an endpoint at the same time."""
    return endpoint.partition("://")[0] in (*DATABASES, *ETCD)


def size_bytes(endpoint: str, data_dir: Path) -> int | None:
    """Return how much room a datastore takes on disk, None where it takes none or that is unknown.

    What waits in SQLite's log to be brought into the file counts, too.
    """
    path = sqlite_path(endpoint, data_dir)
    if path is None:
        return None
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
