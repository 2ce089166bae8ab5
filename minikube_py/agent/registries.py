"""registries.yaml: where images really come from, in k3s' form.

    mirrors:
      docker.io:
        endpoint: ["https://mirror.example.com:5000"]
      "*":
        endpoint: ["http://10.0.0.1:5000"]
    configs:
      "mirror.example.com:5000":
        auth: {username: u, password: p}        # or auth: BASE64, identity_token: ...
        tls: {ca_file: ..., cert_file: ..., key_file: ..., insecure_skip_verify: true}

Mirrors and certificates become files that containerd reads at every pull (`hosts.toml`), so a
changed registries.yaml holds from the next pull on. Credentials go with each pull and are written
nowhere else. See containerd's docs/hosts.md.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from minikube_py.api import yaml as api_yaml
from minikube_py.lib import inotify
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic

log = logging.getLogger(__name__)
DOCKER_HUB, DOCKER_HUB_URL = "docker.io", "https://registry-1.docker.io"
ANY, ANY_FOLDER = "*", "_default"
AUTH = ("username", "password", "auth", "identity_token")
TLS = ("ca_file", "cert_file", "key_file", "insecure_skip_verify")


@dataclass(frozen=True, kw_only=True)
class Access:
    """What one registry wants of those who come."""

    auth: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Registries:
    """A whole registries.yaml."""

    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Registry -> URLs to ask first, in this order."""
    access: Mapping[str, Access] = field(default_factory=dict)
    """By `host:port`."""

    def credentials(self, registry: str) -> Iterator[Mapping[str, str]]:
        """Yield what may open a registry: its own, and those of its mirrors."""
        mirrors = self.mirrors.get(registry) or self.mirrors.get(ANY) or ()
        for host in dict.fromkeys((*(_host(url) for url in mirrors), registry)):
            access = self.access.get(host)
            if access is not None and access.auth:
                token = access.auth.get("identity_token", "")
                yield {**access.auth, "identitytoken": token}


def parse(data: bytes) -> Registries:
    """Read a registries.yaml.

    Raises:
        ValueError: it is wrong; the message says where and why.

    """
    try:
        document = api_yaml.load(data)
    except yaml.YAMLError as error:
        raise ValueError(api_yaml.error_text(error)) from None
    whole = _mapping(document or {}, "the file", ("mirrors", "configs"))
    mirrors = _mapping(whole.get("mirrors") or {}, "mirrors")
    configs = _mapping(whole.get("configs") or {}, "configs")
    return Registries(
        mirrors={name: list(_endpoints(name, value)) for name, value in mirrors.items()},
        access={host: _access(host, value) for host, value in configs.items()},
    )


def _mapping(value: Any, where: str, known: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping")  # noqa: TRY004 -- of what a user wrote
    unknown = [str(key) for key in value if known and key not in known]
    if unknown:
        raise ValueError(f"{where}: {unknown[0]} is not known; there are {', '.join(known)}")
    return {str(key): entry for key, entry in value.items()}


def _endpoints(name: str, value: Any) -> Iterator[str]:
    where = f"mirrors.{name}"
    if isinstance(value, dict) and value.get("rewrite"):
        raise ValueError(f"{where}.rewrite: containerd has no way to rename images of a mirror")
    entry = _mapping(value or {}, where, ("endpoint", "rewrite"))
    for url in entry.get("endpoint") or ():
        parts = urlsplit(str(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{where}.endpoint: {url} is not a URL with http or https")
        yield str(url).rstrip("/")


def _access(host: str, value: Any) -> Access:
    entry = _mapping(value or {}, f"configs.{host}", ("auth", "tls"))
    auth = _mapping(entry.get("auth") or {}, f"configs.{host}.auth", AUTH)
    tls = _mapping(entry.get("tls") or {}, f"configs.{host}.tls", TLS)
    if bool(tls.get("cert_file")) != bool(tls.get("key_file")):
        raise ValueError(f"configs.{host}.tls: cert_file and key_file go together")
    return Access(auth={key: str(text) for key, text in auth.items()}, tls=tls)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def hosts_files(registries: Registries) -> dict[str, str]:
    """Return containerd's files, by the name of the registry's folder: pure."""
    names = dict.fromkeys([*registries.mirrors, *registries.access])
    return {ANY_FOLDER if name == ANY else name: _hosts_toml(name, registries) for name in names}


def _hosts_toml(name: str, registries: Registries) -> str:
    lines = []
    if name != ANY:
        own = DOCKER_HUB_URL if name == DOCKER_HUB else f"https://{name}"
        lines.append(f'server = "{own}"')
    urls = [*registries.mirrors.get(name, ())]
    if name in registries.access and name != ANY:
        urls.append(own)
    for url in dict.fromkeys(urls):
        lines += ["", f'[host."{url}"]', '  capabilities = ["pull", "resolve"]']
        access = registries.access.get(_host(url)) or registries.access.get(name)
        lines += _tls(access.tls if access is not None else {})
    return "\n".join([*lines, ""])


def _tls(tls: Mapping[str, Any]) -> Iterator[str]:
    if tls.get("ca_file"):
        yield f'  ca = "{tls["ca_file"]}"'
    if tls.get("cert_file"):
        yield f'  client = [["{tls["cert_file"]}", "{tls["key_file"]}"]]'
    if tls.get("insecure_skip_verify"):
        yield "  skip_verify = true"


class RegistriesFile:
    """A registries.yaml that is followed while the node runs."""

    def __init__(self, path: Path, folder: Path) -> None:
        """Take the file, which need not exist, and the folder that containerd looks into."""
        self._path = path
        self._folder = folder
        self.registries = Registries()

    def load(self) -> None:
        """Read the file and write what containerd needs of it.

        Raises:
            StartError: the file is wrong.

        """
        try:
            self.registries = parse(read_if_there(self._path) or b"")
        except ValueError as error:
            raise StartError(f"{self._path}: {error}; mend it or remove the file") from None
        wanted = hosts_files(self.registries)
        make_dir(self._folder)
        for name, text in wanted.items():
            path = make_dir(self._folder / name) / "hosts.toml"
            write_atomic(path, text.encode())
        for entry in self._folder.iterdir():
            if entry.name not in wanted:
                shutil.rmtree(entry, ignore_errors=True)

    def credentials(self, registry: str) -> Iterator[Mapping[str, str]]:
        """Yield what may open a registry now."""
        yield from self.registries.credentials(registry)

    def parts(self) -> dict[str, Callable[[], object]]:
        """Return what follows the file, where there is a folder for it."""
        return {"registries": self.follow} if self._path.parent.is_dir() else {}

    async def follow(self) -> None:
        """Load the file again whenever it changes; a wrong one changes nothing. For ever.

        Raises:
            OSError: its folder is not there or cannot be watched.

        """
        await inotify.follow([self._path.parent], self._look)

    async def _look(self) -> None:
        before = self.registries
        try:
            self.load()
        except StartError as error:
            log.error("registries are as before error=%s", error)  # noqa: TRY400
        if self.registries != before:
            log.info("registries changed file=%s", self._path)
