"""How a server asks another one to be let into the cluster: `--server URL --token K10...`.

The first answer, the cluster's CA, is believed because the token names its hash; then the secret is
sent over TLS that this CA verifies. Asked again after a crash, the other server answers the same.
"""

import json
import logging
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from minikube_py.lib import authority
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member.layout import AUTHORITY_FILES, Layout

log = logging.getLogger(__name__)
PATH = "/v1-kpy"
KEPT = "cluster.json"
RETRY = Backoff(first_seconds=0.2, max_seconds=5.0)
REQUEST_SECONDS = 30.0
ANSWER_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Admission:
    """What a member is told when it is let in."""

    cluster: str
    """For --initial-cluster."""
    clients: tuple[str, ...]
    """URLs of the members that are there."""

    @classmethod
    def kept(cls, folder: Path) -> "Admission | None":
        """Return what was told when this member was let in."""
        data = read_if_there(folder / KEPT)
        if data is None:
            return None
        told = json.loads(data)
        return cls(told["cluster"], tuple(told["clients"]))

    def keep(self, folder: Path) -> None:
        """Keep it for as long as the member has not caught up."""
        write_atomic(folder / KEPT, json.dumps(asdict(self)).encode())


class _AwayError(Exception):
    """The server cannot answer now."""


async def admitted(config: ServerConfig, layout: Layout, clock: Clock) -> Admission:
    """Be let in, however long the other server is away; the authority is written.

    Raises:
        StartError: it refuses, or is not the one that the token names.

    """
    server, fingerprint, secret = _told(config)
    failures = 0
    while True:
        try:
            answer = await _ask(server, fingerprint, secret, layout)
        except _AwayError as error:
            failures += 1
            wait = RETRY.wait_seconds(failures)
            log.warning("not let in yet, asking again server=%s in=%.1fs: %s", server, wait, error)
            await clock.sleep(wait)
        else:
            break
    make_dir(layout.tls)
    for name in AUTHORITY_FILES:
        if name in answer["authority"]:
            write_atomic(layout.file(name), answer["authority"][name].encode())
    return Admission(answer["cluster"], tuple(answer["clients"]))


def _told(config: ServerConfig) -> tuple[str, str, str]:
    """Return the server, the hash of its CA and the secret; raises StartError."""
    parts = urlsplit(config.server)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
        raise StartError(
            f"--server {config.server!r} is no URL such as https://10.0.0.1:6443; pass one"
        )
    head, _, secret = config.token.partition("::")
    if not head.startswith("K10") or not secret.partition(":")[2]:
        raise StartError(
            "--token is not a join token (K10<hash>::server:<secret>); `kpy token` on the server"
            " prints it"
        )
    return f"https://{parts.netloc}", head.removeprefix("K10"), secret.partition(":")[2]


async def _ask(server: str, fingerprint: str, secret: str, layout: Layout) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        found = await _answer(session, f"{server}{PATH}/cacerts", unverified, None, {})
        bundle, chain = str(found.get("cacerts", "")), str(found.get("chain", ""))
        try:
            ca = authority.vouched(bundle.encode(), chain.encode(), fingerprint)
        except ValueError:
            ca = b""
        if not ca:
            raise StartError(
                f"the CA of {server} is not the one that --token names; check --server, or take"
                " the token that `kpy token` prints there"
            )
        context = ssl.create_default_context(cadata=ca.decode())
        body = {"name": layout.name, "peerURL": layout.peer_url}
        headers = {"Authorization": f"Bearer {secret}"}
        return await _answer(session, f"{server}{PATH}/etcd", context, body, headers)


async def _answer(
    session: aiohttp.ClientSession,
    url: str,
    context: ssl.SSLContext,
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> dict[str, Any]:
    method = "POST" if body is not None else "GET"
    try:
        async with session.request(
            method, url, ssl=context, json=body, headers=dict(headers)
        ) as response:
            data = await response.content.read(ANSWER_BYTES_MAX)
            while not response.content.at_eof() and len(data) < ANSWER_BYTES_MAX:
                data += await response.content.read(ANSWER_BYTES_MAX - len(data))
            status = response.status
    except aiohttp.ClientConnectorCertificateError as error:
        raise StartError(
            f"the certificate of {url} is not good: {error.certificate_error}"
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _AwayError(str(error) or "no answer in time") from error
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise _AwayError(f"{url} answered {status} without JSON") from error
    if status == 200:
        return dict(answer)
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    if 400 <= status < 500 and status != 429:
        raise StartError(f"the server refused this one: {message}")
    raise _AwayError(f"answered {status}: {message}")
