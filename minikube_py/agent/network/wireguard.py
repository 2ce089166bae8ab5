"""The WireGuard back end: a key of the node's own, peers made of nodes, the kernel or wireguard-go.

The private key stays in the data folder (mode 0600) and is handed to `wg` on its standard input;
the public one stands in an annotation of the node, where other nodes find it. `wg syncconf` changes
only what differs, so that tunnels to nodes that stay go on. Where the kernel has no WireGuard the
program wireguard-go carries packets; it lives on when kpy ends, as the kernel's link does.
"""

import asyncio
import base64
import ipaddress
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from minikube_py.agent.network import kernel, links
from minikube_py.agent.network.routes import WIREGUARD_LINK, WIREGUARD_PORT, Peer
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic

KEEPALIVE_SECONDS = 25
"""Keeps the way open through a translation of addresses, as WireGuard's own manual advises."""
COMMAND_SECONDS = 20.0
USERSPACE = "wireguard-go"


class WireGuardError(Exception):
    """A program or the kernel refused; tried again by the caller."""


def require() -> None:
    """Make sure that this machine can do it.

    Raises:
        StartError: a program is missing, with the package that has it.

    """
    if shutil.which("wg") is None:
        raise StartError("wg is missing; install the package wireguard-tools")
    if shutil.which(USERSPACE) is None and not links.knows("wireguard"):
        raise StartError(
            "this kernel has no WireGuard and wireguard-go is missing; install the package "
            "wireguard-go, or run the server with another --network-backend"
        )


def private_key(folder: Path) -> str:
    """Return this node's key; make one the first time."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    path = make_dir(folder) / "wireguard.key"
    kept = read_if_there(path)
    if kept is not None:
        return kept.decode().strip()
    raw = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.Raw,
        serialization.PrivateFormat.Raw,
        serialization.NoEncryption(),
    )
    key = base64.b64encode(raw)
    write_atomic(path, key + b"\n")
    return key.decode()


def public_key(private: str) -> str:
    """Return what others may know of a key."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    key = X25519PrivateKey.from_private_bytes(base64.b64decode(private)).public_key()
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def is_key(text: str) -> bool:
    """Tell whether a text may be a key: an annotation is anybody's word."""
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def configuration(private: str, peers: Iterable[Peer], family: int) -> str:
    """Return what `wg syncconf` is told; pure. `family` is that of the nodes' addresses, 4 or 6."""
    lines = ["[Interface]", f"PrivateKey = {private}", f"ListenPort = {WIREGUARD_PORT}"]
    for peer in sorted(peers):
        address = next((a for a in peer.addresses if _version(a) == family), "")
        if not address or not peer.pod_cidrs or not is_key(peer.public_key):
            continue
        host = f"[{address}]" if ":" in address else address
        lines += [
            "[Peer]",
            f"PublicKey = {peer.public_key}",
            f"Endpoint = {host}:{WIREGUARD_PORT}",
            f"AllowedIPs = {', '.join(peer.pod_cidrs)}",
            f"PersistentKeepalive = {KEEPALIVE_SECONDS}",
        ]
    return "\n".join([*lines, ""])


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


async def ensure_link() -> None:
    """Have the link, of the kernel or of wireguard-go; raises WireGuardError."""
    if await asyncio.to_thread(kernel.has_link, WIREGUARD_LINK):
        return
    if await asyncio.to_thread(kernel.add_link, WIREGUARD_LINK, "wireguard"):
        return
    # It puts itself in the background once the link is there.
    await _run(USERSPACE, WIREGUARD_LINK)


async def set_peers(text: str) -> None:
    """Make the link's peers those of a configuration; raises WireGuardError."""
    await _run("wg", "syncconf", WIREGUARD_LINK, "/dev/stdin", stdin=text)


async def _run(*command: str, stdin: str = "") -> None:
    """Run a program that opens its standard input by name, which asyncio's own pipes forbid."""
    with os.fdopen(os.memfd_create("stdin"), "w+b") as file:
        file.write(stdin.encode())
        file.seek(0)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=file,
            stdout=asyncio.subprocess.DEVNULL,
            # Not a pipe: who puts himself in the background would keep it open.
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            await process.wait()
    except TimeoutError as error:
        raise WireGuardError(f"{command[0]} took longer than {COMMAND_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise WireGuardError(f"{' '.join(command)} ended with status {process.returncode}")
