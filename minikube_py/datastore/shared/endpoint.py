"""From the URL of a database server to how SQLAlchemy reaches it.

    postgres://user:password@host:5432/kubernetes?sslmode=verify-full&sslrootcert=ca.pem
    mysql://user:password@tcp(host:3306)/kubernetes?tls=true
    mysql://user:password@unix(/run/mysqld/mysqld.sock)/kubernetes

The forms are those of k3s' `--datastore-endpoint`: libpq's for PostgreSQL, the Go driver's for
MySQL (a plain `host:port` is understood, too).
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sqlalchemy import URL

from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles

DATABASE = "kubernetes"
"""The database where the URL names none, as with k3s."""
CONNECT_SECONDS = 10
POSTGRES_OPTIONS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "host"})
MYSQL_OPTIONS = frozenset({"tls"})
GO_ADDRESS = re.compile(r"(?P<login>.*@)?(?P<net>tcp|unix)\((?P<address>[^)]*)\)(?P<rest>.*)")
MYSQL_TLS = {"true": "verify-full", "skip-verify": "require", "preferred": "prefer"}


@dataclass(frozen=True)
class DatabaseEndpoint:
    """What `create_async_engine` takes; the password is in `url`, which hides it when printed."""

    url: URL
    connect_args: Mapping[str, Any] = field(default_factory=dict, repr=False)


def database_endpoint(endpoint: str, tls: TlsFiles = NO_FILES) -> DatabaseEndpoint:
    """Parse the URL of a database server; raises DatastoreError that never shows a password."""
    scheme, _, rest = endpoint.partition("://")
    try:
        return _mysql(rest, tls) if scheme == "mysql" else _postgres(rest, tls)
    except (ValueError, OSError) as error:
        raise DatastoreError(f"datastore endpoint {scheme}://: {error}") from error


def _postgres(rest: str, tls: TlsFiles) -> DatabaseEndpoint:
    parts = urlsplit(f"postgres://{rest}")
    options = _options(parts.query, POSTGRES_OPTIONS)
    given = TlsFiles(
        options.get("sslrootcert", tls.ca),
        options.get("sslcert", tls.certificate),
        options.get("sslkey", tls.key),
    )
    mode = options.get("sslmode", "verify-full" if given.ca else "prefer")
    folder = options.get("host")
    url = _url("postgresql+asyncpg", rest, folder)
    tls_asked: object = False if folder else _context(mode, given)
    if mode == "prefer" and not folder:
        tls_asked = "prefer"  # only the driver can try it and go on without
    return DatabaseEndpoint(url, {"timeout": CONNECT_SECONDS, "ssl": tls_asked})


def _mysql(rest: str, tls: TlsFiles) -> DatabaseEndpoint:
    socket = None
    go = GO_ADDRESS.fullmatch(rest)
    if go is not None:
        at = go["address"] if go["net"] == "tcp" else "localhost"
        socket = go["address"] if go["net"] == "unix" else None
        rest = f"{go['login'] or ''}{at}{go['rest']}"
    options = _options(urlsplit(f"mysql://{rest}").query, MYSQL_OPTIONS)
    wanted = options.get("tls", "true" if tls.ca else "false")
    if wanted not in (*MYSQL_TLS, "false"):
        raise ValueError(f"tls={wanted} is not known; use true, false or skip-verify")
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "charset": "utf8mb4"}
    if socket:
        arguments["unix_socket"] = socket
    elif wanted != "false":
        arguments["ssl"] = _context(MYSQL_TLS[wanted], tls)
    return DatabaseEndpoint(_url("mysql+asyncmy", rest, None), arguments)


def _url(driver: str, rest: str, socket_folder: str | None) -> URL:
    parts = urlsplit(f"{driver.partition('+')[0]}://{rest}")
    if parts.hostname is None and socket_folder is None:
        raise ValueError("it names no host")
    return URL.create(
        driver,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        host=socket_folder or parts.hostname,
        port=parts.port,
        database=unquote(parts.path.strip("/")) or DATABASE,
    )


def _options(query: str, known: frozenset[str]) -> dict[str, str]:
    options = dict(parse_qsl(query))
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(
            f"option {unknown[0]!r} is not known; known are {', '.join(sorted(known))}"
        )
    return options


def _context(mode: str, tls: TlsFiles) -> ssl.SSLContext | bool:
    """Return what TLS checks in a mode of libpq's `sslmode`."""
    if mode == "disable":
        return False
    if mode not in ("prefer", "require", "verify-ca", "verify-full"):
        raise ValueError(f"sslmode={mode} is not known; use disable, require or verify-full")
    context = ssl.create_default_context(cafile=tls.ca or None)
    if mode in ("prefer", "require", "verify-ca"):
        context.check_hostname = False
    if mode in ("prefer", "require"):
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None)
    return context
