"""Which paths belong to other servers: a table that follows the APIServices in the watch cache.

Most servers have no aggregated API; then the table is empty, and a request pays one look at it.
"""

import base64
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from minikube_py.api.apiregistration.apiservice import AVAILABLE
from minikube_py.api.object import Obj, get, has_condition
from minikube_py.server.registry.cache import KindCache
from minikube_py.server.registry.changes import Change

log = logging.getLogger(__name__)
GroupVersion = tuple[str, str]
OPENAPI = "/openapi/v3"
ClientTls = Callable[..., ssl.SSLContext]
"""(CA bundle, verify=) -> the TLS towards an aggregated server."""


@dataclass(frozen=True)
class Remote:
    """One group and version that another server answers for."""

    name: str
    """Of the APIService."""
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca_bundle: bytes = field(repr=False)
    verify: bool
    available: bool

    @property
    def path(self) -> str:
        """The path below which the server answers."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def server(self) -> tuple[str, str, int]:
        """What tells its server from others."""
        return self.namespace, self.service, self.port


def remote_of(api_service: Obj) -> Remote | None:
    """Return the remote that an APIService describes, None for a local one."""
    spec = api_service["spec"]
    reference = spec.get("service")
    if reference is None:
        return None
    return Remote(
        name=api_service["metadata"]["name"],
        group=spec.get("group") or "",
        version=spec["version"],
        namespace=reference["namespace"],
        service=reference["name"],
        port=get(reference, "port", 443),
        ca_bundle=base64.b64decode(spec.get("caBundle") or ""),
        verify=not spec.get("insecureSkipTLSVerify"),
        available=has_condition(api_service, AVAILABLE),
    )


class Routes:
    """Finds the remote of a path."""

    def __init__(self, kind: KindCache, client_tls: ClientTls) -> None:
        self._kind = kind
        self._client_tls = client_tls
        self._remotes: dict[GroupVersion, Remote] = {}
        self._contexts: dict[tuple[bytes, bool], ssl.SSLContext | str] = {}
        self._watchers: list[Callable[[], None]] = []
        for item in kind.items():
            self._put(item.obj)
        self._stop = kind.subscribe(self._take)

    def __bool__(self) -> bool:
        return bool(self._remotes)

    def __iter__(self) -> Iterator[Remote]:
        return iter(tuple(self._remotes.values()))

    def subscribe(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when APIServices have changed in what discovery shows."""
        self._watchers.append(watcher)

    def find(self, path: str) -> Remote | None:
        """Return the remote that answers for a path, or None."""
        parts = path.removeprefix(OPENAPI).split("/", 4)
        if len(parts) > 3 and parts[1] == "apis":
            return self._remotes.get((parts[2], parts[3]))
        if len(parts) > 2 and parts[1] == "api":
            return self._remotes.get(("", parts[2]))
        return None

    def tls(self, remote: Remote) -> ssl.SSLContext:
        """Return the TLS towards a remote's server.

        Raises:
            ssl.SSLError: its bundle makes no sense.

        """
        key = remote.ca_bundle, remote.verify
        if key not in self._contexts:
            try:
                self._contexts[key] = self._client_tls(remote.ca_bundle, verify=remote.verify)
            except (OSError, ValueError) as error:
                self._contexts[key] = f"unable to load root certificates: {error}"
        context = self._contexts[key]
        if isinstance(context, str):
            raise ssl.SSLError(context)
        return context

    def certificates_changed(self) -> None:
        """Show servers our new certificate from now on."""
        self._contexts.clear()

    def close(self) -> None:
        """Follow no longer."""
        self._stop()

    def _take(self, changes: Sequence[Change]) -> None:
        shown = False
        for change in changes:
            before = change.previous.obj["spec"] if change.previous is not None else None
            if change.deleted:
                self._drop(change.item.obj["spec"])
            else:
                self._put(change.item.obj)
            shown = shown or change.deleted or before != change.item.obj["spec"]
        wanted = {(remote.ca_bundle, remote.verify) for remote in self}
        for key in self._contexts.keys() - wanted:
            del self._contexts[key]
        if shown:
            for watcher in self._watchers:
                watcher()

    def _drop(self, spec: Obj) -> None:
        self._remotes.pop((spec.get("group") or "", spec["version"]), None)

    def _put(self, api_service: Obj) -> None:
        remote = remote_of(api_service)
        if remote is None:
            self._drop(api_service["spec"])
            return
        before = self._remotes.get((remote.group, remote.version))
        self._remotes[remote.group, remote.version] = remote
        if before is not None and before.available != remote.available:
            log.info("api service name=%s available=%s", remote.name, remote.available)
