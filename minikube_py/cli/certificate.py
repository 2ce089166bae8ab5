"""`kpy certificate`: what ends when, and how to renew or replace it on a running cluster.

The commands write files; a running server follows them and closes no connection. What a
replacement of the authorities leaves trusted, and why nobody notices it, says `lib.authority`.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.agent.join import LEAVES, RENEW
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.cli.node import membership_folder
from minikube_py.lib import authority, pki
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import write_atomic
from minikube_py.lib.pki import Pair
from minikube_py.server.bootstrap import AUTHORITIES
from minikube_py.server.config import ServerConfig

SERVER_LEAVES = {
    "apiserver": "cluster-ca",
    "admin": "client-ca",
    "apiserver-kubelet-client": "client-ca",
    "front-proxy-client": "front-proxy-ca",
}
NODE_LEAVES = dict(zip(LEAVES, ("cluster-ca", "client-ca", "client-ca"), strict=True))
"""Name of the files, and of the authority that signs."""


def rows(server: Path, node: Path, now: datetime) -> Iterator[tuple[str, str, str, str]]:
    """Yield what `check` prints of each certificate: place, subject, last day, state."""
    for folder, names in ((server, (*AUTHORITIES, *SERVER_LEAVES)), (node, LEAVES)):
        for name in names:
            path = folder / f"{name}.crt"
            certificate = pki.load_certificate(path)
            if certificate is not None:
                before = authority.RENEW_BEFORE if name in AUTHORITIES else pki.RENEW_BEFORE
                end = certificate.not_valid_after_utc
                state = _state(end - now, end - before, now)
                subject = certificate.subject.rfc4514_string()
                yield str(path), subject, f"{end:%Y-%m-%d}", state


def _state(left: timedelta, renewed: datetime, now: datetime) -> str:
    if left.total_seconds() <= 0:
        return "EXPIRED; start kpy, which renews it"
    if renewed <= now:
        return f"{left.days} days left, is renewed while kpy runs"
    return f"{left.days} days left, is renewed on {renewed:%Y-%m-%d}"


def check(server: Path, node: Path) -> None:
    """Print a table of all certificates of this machine.

    Raises:
        StartError: there are none.

    """
    table = list(rows(server, node, SystemClock().now()))
    if not table:
        raise StartError(f"there are no certificates in {server} or {node}; pass --data-dir")
    heads = ("CERTIFICATE", "SUBJECT", "ENDS", "STATE")
    widths = [max(len(row[n]) for row in (heads, *table)) for n in range(4)]
    for row in (heads, *table):
        click.echo(
            "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        )


def rotate(server: Path, node: Path) -> None:
    """Sign every leaf of this machine anew, with new keys."""
    if not (server / "cluster-ca.key").exists():
        _rotate_joined(node)
        return
    now = SystemClock().now()
    for folder, leaves in ((server, SERVER_LEAVES), (node, NODE_LEAVES)):
        for name, ca in leaves.items():
            if (folder / f"{name}.crt").exists():
                _reissue(folder, name, authority.ensure_ca(server, ca, AUTHORITIES[ca], now), now)
                click.echo(f"renewed {folder / name}.crt")


def _rotate_joined(node: Path) -> None:
    """Have a node that joined a server elsewhere ask it for new certificates."""
    if not node.exists():
        raise StartError(f"there are no certificates in {node}; pass --data-dir")
    write_atomic(node / RENEW, b"")
    click.echo("this node asks its server for new certificates when `kpy agent` is started again")


def rotate_ca(server: Path, node: Path) -> None:
    """Replace the keys of all authorities, and all leaves."""
    if not (server / "cluster-ca.key").exists():
        raise StartError(f"there are no authorities in {server}; run this on a server")
    for name, title in AUTHORITIES.items():
        authority.rotate_ca(server, name, title, SystemClock().now())
        click.echo(f"replaced {server / name}.crt; the old one stays trusted")
    rotate(server, node)


def forget_ca(server: Path, node: Path) -> None:
    """Stop trusting the authorities from before a replacement."""
    del node
    for name in AUTHORITIES:
        if not (server / f"{name}.crt").exists():
            raise StartError(f"there are no authorities in {server}; run this on a server")
        forgot = authority.forget_old(server, name)
        click.echo(f"{name}: " + ("older ones are forgotten" if forgot else "there was no other"))


def _reissue(folder: Path, name: str, ca: Pair, now: datetime) -> None:
    """Sign a leaf again for whom it is, with a new key."""
    old = pki.load_certificate(folder / f"{name}.crt")
    if old is None:
        return
    key = pki.new_key()
    new = pki.sign_again(ca, old, key.public_key(), now=now)
    write_atomic(folder / f"{name}.key", pki.key_to_pem(key))
    write_atomic(folder / f"{name}.crt", authority.pem(new) + ca.chain_pem)


def _verb(name: str, act: Callable[[Path, Path], None], text: str) -> click.Command:
    def run(**given: Any) -> None:
        config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given=given)
        act(config.data_dir / "server" / "tls", membership_folder(config.data_dir))

    params = [p for p in parameters(ServerConfig) if p.name in ("data_dir", "config")]
    return click.Command(name, callback=run, params=params, help=text)


command = click.Group(
    "certificate",
    help="Show, renew and replace the certificates of this machine.",
    commands=[
        _verb("check", check, "Print which certificates there are and when they end."),
        _verb("rotate", rotate, "Renew all certificates, with new keys."),
        _verb("rotate-ca", rotate_ca, "Replace the authorities and renew all certificates."),
        _verb("forget-ca", forget_ca, "Trust no authority from before the last rotate-ca."),
    ],
)
