"""How a node becomes part of a cluster: with a token it fetches certificates, and keeps them.

The token names the CA by its hash, or is a bootstrap token with which the server signs the CA, so
the first answer can be trusted although nothing is known of the server yet. What was given is kept
in a folder; a later start needs the server only when something in there is missing or ends soon.
The steps, in order:

    cacerts   fetch the CA unverified, compare its hash with the token's or check the signature
    join      over verified TLS, with the secret: name, password and keys; get certificates

Only what is missing is asked for. Who has joined needs no token any more: its own certificate does.
A node password, made once and kept on both sides, stops a second machine from taking the name.
"""

import json
import logging
import re
import secrets
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from minikube_py.lib import authority, jws, pki, renewal
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic

log = logging.getLogger(__name__)
PATH = "/v1-kpy"
BOOTSTRAP = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
TOKEN = re.compile(
    rf"(?:K10([0-9a-f]{{64}})::)?({BOOTSTRAP.pattern})|K10([0-9a-f]{{64}})::[a-z]+:(\S+)", re.ASCII
)
RETRY = Backoff(first_seconds=0.5, max_seconds=15.0)
REQUEST_SECONDS = 15.0
ANSWER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """What every node of a cluster must know alike."""

    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    kube_proxy: bool = True
    network_policy: bool = True
    dns: bool = True
    dns_stub_domains: Sequence[str] = ()
    """`DOMAIN=ADDRESS[:PORT]` of the servers that know the names of a domain."""
    network_backend: str = "vxlan"
    ingress: bool = True
    cloud_provider: str = ""
    """Who initialises the node: `local`, `external` (and gives its addresses), "" for nobody."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return what was told; what a newer kpy tells beside it is left out.

        Raises:
            TypeError: something is missing.

        """
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in told.items() if name in known})


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A node's place in a cluster: who it is, and what it was given."""

    node_name: str
    addresses: tuple[str, ...]
    server: str
    """URL of the API server."""
    folder: Path
    facts: ClusterFacts

    @property
    def cluster_ca(self) -> Path:
        """What the API server's certificate is checked with."""
        return self.folder / "cluster-ca.crt"

    @property
    def client_ca(self) -> Path:
        """What the kubelet checks its clients with."""
        return self.folder / "client-ca.crt"

    @property
    def serving(self) -> tuple[Path, Path]:
        """Certificate and key of the kubelet's server."""
        return self.pair("kubelet-serving")

    @property
    def kubelet(self) -> tuple[Path, Path]:
        """Certificate and key of the user system:node:<name>."""
        return self.pair("kubelet-client")

    @property
    def proxy(self) -> tuple[Path, Path]:
        """Certificate and key of the user system:kube-proxy, which DNS and routes use too."""
        return self.pair("proxy-client")

    @property
    def due(self) -> datetime:
        """When the first certificate has to be renewed."""
        kept = (pki.load_certificate(self.pair(name)[0]) for name in LEAVES)
        return renewal.due(certificate for certificate in kept if certificate is not None)

    def pair(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key of one of `LEAVES`."""
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def is_good(self, name: str, now: datetime) -> bool:
        """Tell whether one of `LEAVES` is there, fits and lasts."""
        return _is_good(self.folder, name, {self.node_name, *self.addresses}, now)


RENEW = "renew"
"""A file beside the certificates: take all anew at the next look."""
LEAVES = ("kubelet-serving", "kubelet-client", "proxy-client")


@dataclass(frozen=True)
class Token:
    """A join token, taken apart."""

    ca_hash: str
    """"" in a bootstrap token that stands alone."""
    secret: str

    def __repr__(self) -> str:
        return f"Token(ca_hash={self.ca_hash!r})"


def parse_token(text: str) -> Token:
    """Take a token in full form apart.

    Raises:
        StartError: it is not in full form.

    """
    match = TOKEN.fullmatch(text.strip())
    if match is None:
        raise StartError(
            "--token is not a join token (K10<hash>::server:<secret>) nor a bootstrap token; "
            "`kpy token` on the server prints the one, `kpy token create` makes the other"
        )
    bootstrap_hash, bootstrap, _, _, ca_hash, secret = match.groups()
    return Token(ca_hash or bootstrap_hash or "", secret or bootstrap)


def parse_server(text: str) -> str:
    """Return the URL of a server without what follows its port.

    Raises:
        StartError: it is no https URL.

    """
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
        raise StartError(f"--server {text!r} is no URL such as https://10.0.0.1:6443; pass one")
    return f"https://{parts.netloc}"


async def join(  # noqa: PLR0913 -- who joins what is that many facts
    *,
    server: str,
    token: str,
    node_name: str,
    addresses: Sequence[str],
    folder: Path,
    clock: Clock,
    alone: bool = False,
) -> Membership:
    """Return the node's membership; ask the server where what is kept does not do.

    While the server is away it is asked again, later and later, for as long as it takes. Who can
    do something `alone` is given what is kept instead, though it ends soon or names another
    address: a node that was a member before runs its pods.

    Raises:
        StartError: the server refuses, for a reason that waiting does not mend.

    """
    make_dir(folder)
    wanted, parsed = parse_token(token), parse_server(server)
    kept = load(folder, parsed, node_name, addresses, wanted, now=clock.now())
    if kept is not None:
        return kept
    failures = 0
    while True:
        try:
            return await _join_once(parsed, wanted, node_name, addresses, folder, clock.now())
        except (TimeoutError, _Unavailable) as error:
            if alone and (old := _still_there(folder, parsed, node_name, addresses, wanted)):
                log.warning("server is away, going on as a member server=%s why=%s", server, error)
                return old
            failures += 1
            wait = RETRY.wait_seconds(failures)
            log.warning(
                "server is away, asking again server=%s in=%.1fs why=%s", server, wait, error
            )
            await clock.sleep(wait)


def load(
    folder: Path,
    server: str,
    node_name: str,
    addresses: Sequence[str],
    token: Token,
    *,
    now: datetime,
) -> Membership | None:
    """Return what is kept, None where a part is missing, ends soon or is of something else."""
    if (folder / RENEW).exists():
        return None
    if not all(_is_good(folder, name, {node_name, *addresses}, now) for name in LEAVES):
        return None
    return _still_there(folder, server, node_name, addresses, token)


def _still_there(
    folder: Path, server: str, node_name: str, addresses: Sequence[str], token: Token
) -> Membership | None:
    """Return what is kept, however old, None where a part is missing or of something else."""
    data = read_if_there(folder / "cluster.json")
    ca = read_if_there(folder / "cluster-ca.crt")
    if data is None or ca is None:
        return None
    if token.ca_hash and not authority.vouched(ca, b"", token.ca_hash):
        return None
    files = ("client-ca.crt", *(f"{n}.{kind}" for n in LEAVES for kind in ("crt", "key")))
    if not all((folder / name).exists() for name in files):
        return None
    facts = ClusterFacts.of(json.loads(data))
    return Membership(
        node_name=node_name,
        addresses=tuple(addresses),
        server=server,
        folder=folder,
        facts=facts,
    )


def _is_good(folder: Path, name: str, names: set[str], now: datetime) -> bool:
    certificate = pki.load_certificate(folder / f"{name}.crt")
    key = pki.load_key(folder / f"{name}.key")
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        return False
    if certificate.not_valid_after_utc - now < pki.RENEW_BEFORE:
        return False
    return name != "kubelet-serving" or names <= pki.alternatives_of(certificate)


def save_facts(folder: Path, facts: ClusterFacts) -> None:
    """Keep the facts of the cluster."""
    write_atomic(folder / "cluster.json", json.dumps(asdict(facts), indent=2).encode())


def node_password(folder: Path) -> str:
    """Return the password of this node; make one the first time."""
    path = folder / "node-password"
    kept = read_if_there(path)
    if kept is not None:
        return kept.decode().strip()
    password = secrets.token_hex(16)
    write_atomic(path, password.encode())
    return password


class _Unavailable(Exception):  # noqa: N818 -- a state of the server, not a fault of ours
    """The server cannot answer now."""


async def _join_once(
    server: str,
    token: Token,
    node_name: str,
    addresses: Sequence[str],
    folder: Path,
    now: datetime,
) -> Membership:
    ca = await _fetch_ca(server, token)
    write_atomic(folder / "cluster-ca.crt", ca, 0o644)
    wanted = _wanted(folder, {node_name, *addresses}, now)
    keys = {name: pki.ensure_key(folder / f"{name}.key") for name in wanted}
    subject = pki.Subject(name=node_name)
    body = {
        "nodeName": node_name,
        "nodePassword": node_password(folder),
        "addresses": list(addresses),
        "requests": {name: pki.request(subject, key).decode() for name, key in keys.items()},
    }
    answer = await _ask_to_join(f"{server}{PATH}/join", ca, token, body, folder)
    for name, pem in answer["certificates"].items():
        if name in LEAVES:
            write_atomic(folder / f"{name}.crt", pem.encode(), 0o644)
    write_atomic(folder / "client-ca.crt", answer["clientCA"].encode(), 0o644)
    facts = ClusterFacts.of(answer["cluster"])
    save_facts(folder, facts)
    (folder / RENEW).unlink(missing_ok=True)
    log.info("node joined node=%s server=%s", node_name, server)
    return Membership(
        node_name=node_name,
        addresses=tuple(addresses),
        server=server,
        folder=folder,
        facts=facts,
    )


def _wanted(folder: Path, names: set[str], now: datetime) -> Sequence[str]:
    """Return which certificates to ask for: those that do not do, or all where one was told to."""
    if (folder / RENEW).exists():
        return LEAVES
    return [name for name in LEAVES if not _is_good(folder, name, names, now)] or LEAVES


async def _ask_to_join(
    url: str, ca: bytes, token: Token, body: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Ask with the token; where it is good no more, with the certificate of who has joined."""
    context = ssl.create_default_context(cadata=ca.decode())
    try:
        return await _ask(url, context, token, body)
    except StartError as refused:
        try:
            context.load_cert_chain(folder / "kubelet-client.crt", folder / "kubelet-client.key")
            return await _ask(url, context, None, body)
        except (OSError, StartError, _Unavailable):
            raise refused from None


async def _fetch_ca(server: str, token: Token) -> bytes:
    """Fetch the CA from a server that is not verified yet; the token says if it is right."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    name, _, secret = token.secret.partition(".")
    query = "" if token.ca_hash else f"?token-id={name}"
    answer = await _ask(f"{server}{PATH}/cacerts{query}", unverified, None, None)
    text, chain, signature = (str(answer.get(n, "")) for n in ("cacerts", "chain", "signature"))
    if not token.ca_hash:
        if not jws.holds(signature, text, name, secret):
            raise StartError(
                f"{server} does not know the bootstrap token, or it is over; check --server, "
                "or make another with `kpy token create` there"
            )
        return text.encode()
    try:
        ca = authority.vouched(text.encode(), chain.encode(), token.ca_hash)
    except ValueError:
        ca = b""
    if not ca:
        raise StartError(
            f"the CA of {server} is not the one that --token names; "
            "check --server, or take the token that `kpy token` prints there"
        )
    return ca


async def _ask(
    url: str, context: ssl.SSLContext, token: Token | None, body: Mapping[str, Any] | None
) -> dict[str, Any]:
    import aiohttp  # noqa: PLC0415 -- 100 ms that a node with all it needs can spare

    headers = {"Authorization": f"Bearer {token.secret}"} if token is not None else {}
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            method = "POST" if body is not None else "GET"
            async with session.request(
                method, url, ssl=context, json=body, headers=headers
            ) as response:
                data = await response.content.read(ANSWER_BYTES_MAX)
                return _answer(url, response.status, data)
    except aiohttp.ClientConnectorCertificateError as error:
        raise StartError(
            f"the certificate of {url} is not good: {error.certificate_error}"
        ) from error
    except aiohttp.ClientError as error:
        raise _Unavailable(str(error)) from error


def _answer(url: str, status: int, data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise _Unavailable(f"{url} answered {status} without JSON") from error
    if status == 200:
        return dict(answer)
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    if 400 <= status < 500 and status != 429:
        raise StartError(f"the server refused this node: {message}")
    raise _Unavailable(f"{url} answered {status}: {message}")
