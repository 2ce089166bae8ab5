"""The server's own certificates and the authorities that it trusts, as they are on disk right now.

All TLS of the control plane is made here. The kernel tells when one of the files changes; then
everything is built anew, and connections made from then on have it. A file that makes no sense
(a pair of which only one half is written yet) leaves things as they were.
"""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minikube_py.lib.errors import StartError
from minikube_py.lib.inotify import follow
from minikube_py.lib.tls import ReloadingContext, server_context
from minikube_py.server import named_certificates
from minikube_py.server.authn.trust import Authorities, Trust
from minikube_py.server.bootstrap import Bootstrap
from minikube_py.server.config import ServerConfig
from minikube_py.server.named_certificates import NamedPair

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """Where everything stands."""

    serving: tuple[Path, Path]
    """Certificate and key, as of the pairs below."""
    client_ca: Path
    proxy_cas: tuple[Path, ...]
    """Authorities of proxies that authenticate users."""
    cluster_ca: Path
    """The authority of kubelets' serving certificates."""
    kubelet_client: tuple[Path, Path]
    proxy_client: tuple[Path, Path]
    """What aggregated API servers know us by."""
    named: tuple[NamedPair, ...] = ()
    """What is served to those who ask for other names."""

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        pairs = (*self.serving, *self.kubelet_client, *self.proxy_client)
        named = (path for pair in self.named for path in pair.files)
        return (*pairs, *named, self.client_ca, *self.proxy_cas, self.cluster_ca)


def files(config: ServerConfig, bootstrap: Bootstrap) -> Files:
    """Return where the files are that a server uses."""
    own, given = bootstrap.front_proxy_client, config.proxy_client_cert_file
    more = config.requestheader_client_ca_file
    return Files(
        serving=(bootstrap.serving.certificate_path, bootstrap.serving.key_path),
        client_ca=bootstrap.client_ca.certificate_path,
        proxy_cas=(
            bootstrap.front_proxy_ca.certificate_path,
            *((Path(more),) if more else ()),
        ),
        cluster_ca=bootstrap.cluster_ca.certificate_path,
        kubelet_client=(
            bootstrap.kubelet_client.certificate_path,
            bootstrap.kubelet_client.key_path,
        ),
        proxy_client=(Path(given), Path(config.proxy_client_key_file))
        if given
        else (own.certificate_path, own.key_path),
        named=tuple(map(named_certificates.parse, config.tls_sni_cert_key)),
    )


class Certificates:
    """TLS contexts and trust that follow the files."""

    def __init__(self, config: ServerConfig, bootstrap: Bootstrap) -> None:
        """Read all files.

        Raises:
            StartError: one of them makes no sense.

        """
        self._config = config
        self.files = files(config, bootstrap)
        self._watchers: list[Callable[[], None]] = []
        try:
            self._seen = self._contents()
            self.authorities = self._authorities()
            self.trust = Trust(self.authorities)
            self.serving = ReloadingContext(self._serving())
            self.kubelet = ReloadingContext(self._kubelet())
            self.proxy_client()
        except (OSError, ValueError) as error:
            raise StartError(f"a certificate cannot be used: {error}; restore the file") from error

    def subscribe(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after each change."""
        self._watchers.append(watcher)

    def proxy_client(self, ca_bundle: bytes = b"", *, verify: bool = True) -> ssl.SSLContext:
        """Return the TLS towards an aggregated API server, with our certificate as a proxy.

        Without a bundle the system's authorities are trusted.

        Raises:
            OSError: a file or the bundle makes no sense (`ssl.SSLError` is one).

        """
        context = ssl.create_default_context(cadata=ca_bundle.decode("latin-1") or None)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(*self.files.proxy_client)
        return context

    async def follow(self) -> None:
        """Follow the files for as long as the server runs."""

        async def look() -> None:
            self.look()

        await follow((path.parent for path in self.files.all()), look)

    def look(self) -> None:
        """Read the files, and use them where they have changed."""
        try:
            contents = self._contents()
            if contents == self._seen:
                return
            authorities, serving, kubelet = self._authorities(), self._serving(), self._kubelet()
            self.trust.replace(authorities)
            self.proxy_client()
            self.authorities = authorities
            self.serving.current, self.kubelet.current = serving, kubelet
            for watcher in self._watchers:
                watcher()  # reads some of the files, too
        except (OSError, ValueError) as error:
            log.warning("changed certificates cannot be used, keeping the old error=%s", error)
            return
        self._seen = contents
        log.info("certificates reloaded")

    def _contents(self) -> tuple[bytes, ...]:
        return tuple(path.read_bytes() for path in self.files.all())

    def _authorities(self) -> Authorities:
        proxies = b"".join(_ending(path.read_bytes()) for path in self.files.proxy_cas)
        return Authorities(_ending(self.files.client_ca.read_bytes()), proxies)

    def _serving(self) -> ssl.SSLContext:
        context = self._server_context(*self.files.serving)
        known = named_certificates.by_name(
            (pair, self._server_context(*pair.files)) for pair in self.files.named
        )

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            found = named_certificates.chosen(known, name or "")
            if found is not None:
                connection.context = found

        if known:
            context.sni_callback = choose
        return context

    def _server_context(self, certificate: Path, key: Path) -> ssl.SSLContext:
        config = self._config
        context = server_context(config.tls_min_version, config.tls_cipher_suites)
        context.load_cert_chain(certificate, key)
        for path in (self.files.client_ca, *self.files.proxy_cas):
            context.load_verify_locations(path)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _kubelet(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.files.cluster_ca)
        context.load_cert_chain(*self.files.kubelet_client)
        return context


def _ending(pem: bytes) -> bytes:
    """Return the text with a line's end, so that another may follow."""
    return pem if pem.endswith(b"\n") else pem + b"\n"
