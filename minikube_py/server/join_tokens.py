"""The secret that machines join with: which one is good, and how it is changed while a server runs.

The newest stands in the file `token` of the server's folder, which is read whenever somebody asks.
Of those before it only hashes are kept, in `token.earlier`: a node that joined with one renews its
certificates with it and its own password, and no other machine joins with it any more.
"""

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Literal

from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there, write_atomic

TOKEN, EARLIER = "token", "token.earlier"
JOIN_GROUP = "system:bootstrappers:kpy:default-node-token"
"""Bootstrap tokens of that group make nodes, too; `kpy token create` gives it."""
EARLIER_MAX = 100
"""Hashes that are kept; nodes that joined before all of these have to be given a new token."""
SECRET_BYTES = 16
Standing = Literal["current", "earlier"]
_SECRET = re.compile(r"[!-9;-~]{8,512}", re.ASCII)


def standing(folder: Path, given: str) -> Standing | None:
    """Return whether a secret is the one to join with, or was; None where it never was."""
    kept = (read_if_there(folder / TOKEN) or b"").decode().strip()
    current = kept.rpartition(":")[2]
    if current and hmac.compare_digest(given.encode(), current.encode()):
        return "current"
    digest = _digest(given)
    known = [hmac.compare_digest(digest, one) for one in _earlier(folder)]
    return "earlier" if any(known) else None


def rotate(folder: Path, secret: str = "") -> str:
    """Make another secret the one to join with, a fresh one unless given; return the whole token.

    Raises:
        StartError: no server has run in the folder, or the secret cannot be one.

    """
    kept = (read_if_there(folder / TOKEN) or b"").decode().strip()
    head, _, current = kept.rpartition(":")
    if not current:
        raise StartError(
            f"there is no {folder / TOKEN}; start `kpy server` first, or pass its --data-dir"
        )
    secret = secret or secrets.token_hex(SECRET_BYTES)
    if not _SECRET.fullmatch(secret):
        raise StartError(
            "--new-token cannot be used; pass 8 to 512 printable characters, no spaces or colons"
        )
    earlier = [one for one in _earlier(folder) if one != _digest(secret)]
    if secret != current:
        earlier = [*(one for one in earlier if one != _digest(current)), _digest(current)]
    write_atomic(folder / EARLIER, "".join(f"{one}\n" for one in earlier[-EARLIER_MAX:]).encode())
    token = f"{head}:{secret}"
    write_atomic(folder / TOKEN, f"{token}\n".encode())
    return token


def _earlier(folder: Path) -> list[str]:
    return (read_if_there(folder / EARLIER) or b"").decode().split()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
