"""What can be measured on a machine that runs kpy, each thing once."""

import http.client
import json
import os
import pwd
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from minikube_py.agent.config import NodeConfig
from minikube_py.server.config import ServerConfig

State = Literal["PASS", "FAIL", "WARN", "N/A"]
"""WARN: what only the cluster's owner can judge, with what was found."""
KUBELET_PORT = 10250
READ_ONLY_PORT = 10255
TIMEOUT_SECONDS = 5.0


class Result(NamedTuple):
    """What an item came to, and why: from what was measured."""

    state: State
    why: str


class Item(NamedTuple):
    """One recommendation of the benchmark."""

    number: str
    title: str
    look: Callable[["Machine"], Result]


def passed(why: str) -> Result:
    """The item holds."""
    return Result("PASS", why)


def judged(*, good: bool, why: str) -> Result:
    """The item holds or not."""
    return Result("PASS" if good else "FAIL", why)


def absent(why: str) -> Callable[["Machine"], Result]:
    """The item is about something that kpy does not have."""
    return lambda _: Result("N/A", why)


def owners(why: str) -> Callable[["Machine"], Result]:
    """The item is the cluster's owner's to judge."""
    return lambda _: Result("WARN", why)


class Machine:
    """The machine that this runs on, the server's options and the two ports."""

    def __init__(
        self, server: ServerConfig, node: NodeConfig, *, kubelet_port: int = KUBELET_PORT
    ) -> None:
        self.server = server
        self.node = node
        self.folder = server.data_dir / "server"
        self.tls = self.folder / "tls"
        self.agent = server.data_dir / "agent"
        self.kubelet_port = kubelet_port
        self._lists: dict[str, list[Mapping[str, Any]]] = {}

    # Files

    def modes(self, paths: Iterable[Path], most: int) -> Result:
        """Judge the modes of files: none may give more than `most`."""
        found = [path for path in paths if path.exists()]
        if not found:
            return Result("N/A", "there is no such file on this machine")
        loose = [p for p in found if p.stat().st_mode & 0o777 & ~most]
        shown = ", ".join(f"{path} is {path.stat().st_mode & 0o777:04o}" for path in loose)
        return judged(good=not loose, why=shown or f"{len(found)} looked at, none over {most:04o}")

    def owned(self, paths: Iterable[Path]) -> Result:
        """Judge whose files are: the user's that runs kpy, which is root on a node."""
        found = [path for path in paths if path.exists()]
        if not found:
            return Result("N/A", "there is no such file on this machine")
        wanted = self.server.data_dir.stat().st_uid
        strange = [path for path in found if path.stat().st_uid != wanted]
        name = _user(wanted)
        shown = ", ".join(f"{path} is {_user(path.stat().st_uid)}'s" for path in strange)
        return judged(good=not strange, why=shown or f"{len(found)} looked at, all {name}'s")

    # Ports

    @cached_property
    def trusting(self) -> ssl.SSLContext:
        """TLS that checks the server and shows nothing."""
        return ssl.create_default_context(cafile=self.tls / "cluster-ca.crt")

    @cached_property
    def admin(self) -> ssl.SSLContext:
        """TLS that shows the administrator's certificate."""
        context = ssl.create_default_context(cafile=self.tls / "cluster-ca.crt")
        context.load_cert_chain(self.tls / "admin.crt", self.tls / "admin.key")
        return context

    def ask(self, path: str, *, port: int = 0, admin: bool = False) -> tuple[int, bytes]:
        """Return the status and body of a GET; status 0 where nobody answers."""
        context = self.admin if admin else self.trusting
        port = port or self.server.https_listen_port
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_SECONDS, context=context
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def is_open(self, port: int) -> bool:
        """Tell whether anything listens on a port of this machine."""
        try:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS):
                return True
        except OSError:
            return False

    def takes_tls(self, version: ssl.TLSVersion, port: int) -> bool:
        """Tell whether a port speaks this version of TLS and no newer one with us."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        try:
            context.minimum_version = context.maximum_version = version
            with (
                socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as plain,
                context.wrap_socket(plain),
            ):
                return True
        except (OSError, ValueError):
            return False

    # Objects

    @property
    def is_running(self) -> bool:
        """Tell whether the API server answers the administrator."""
        return self.ask("/version", admin=True)[0] == 200

    def items(self, path: str) -> list[Mapping[str, Any]]:
        """Return the objects of a list; none where the server does not answer."""
        if path not in self._lists:
            status, body = self.ask(path, admin=True)
            self._lists[path] = json.loads(body)["items"] if status == 200 else []
        return self._lists[path]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def files_below(folder: Path, *endings: str) -> list[Path]:
    """Return the files of a folder with these endings."""
    if not os.access(folder, os.R_OK):
        return []
    return sorted(path for path in folder.rglob("*") if path.name.endswith(endings))
