"""One GET as probes and hooks make it: no pooling, no certificate checks, few redirects.

The head of the answer is all that is read. Errors carry the texts that Go's client would give,
because they stand in events that people search for.
"""

import asyncio
import contextlib
import errno
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from minikube_py.lib.tls import unverified

REDIRECTS_MAX = 10
HEAD_BYTES_MAX = 64 << 10
USER_AGENT = "kube-probe/1.36"


class GetError(Exception):
    """No answer came."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to get."""

    scheme: str
    host: str
    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The target as text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


async def get_status(target: Target, timeout_seconds: float) -> int:
    """Return the status code of a GET; redirects on the same host are followed.

    Raises:
        GetError: there was no answer within the time.

    """
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _follow(target)
    except TimeoutError:
        raise GetError(
            f'Get "{target.url}": context deadline exceeded'
            " (Client.Timeout exceeded while awaiting headers)"
        ) from None


async def _follow(target: Target) -> int:
    for _ in range(REDIRECTS_MAX):
        status, location = await _get(target)
        if status not in (301, 302, 303, 307, 308) or not location:
            return status
        to = urlsplit(location)
        if to.hostname and to.hostname != target.host:
            return status  # another host's health is none of ours
        target = replace(
            target,
            scheme=to.scheme or target.scheme,
            port=to.port or target.port,
            path=(to.path or "/") + (f"?{to.query}" if to.query else ""),
        )
    raise GetError(f'Get "{target.url}": stopped after {REDIRECTS_MAX} redirects')


async def _get(target: Target) -> tuple[int, str]:
    reader, writer = await _open(target)
    try:
        writer.write(_request(target))
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        why = "EOF" if not error.partial else "malformed HTTP response"
        raise GetError(f'Get "{target.url}": {why}') from None
    except asyncio.LimitOverrunError:
        raise GetError(f'Get "{target.url}": headers are too long') from None
    except OSError as error:
        raise GetError(f'Get "{target.url}": read: {_words(error)}') from None
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
    return _parse(target, head)


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # A probe asks whether somebody answers, not who (upstream skips verification as well).
    context = unverified() if target.scheme == "https" else None
    try:
        return await asyncio.open_connection(
            target.host, target.port, ssl=context, limit=HEAD_BYTES_MAX
        )
    except OSError as error:
        raise GetError(f'Get "{target.url}": {dial_error(target.host, target.port, error)}') from (
            None
        )


def dial_error(host: str, port: int, error: OSError) -> str:
    """Return what Go says of a connection that failed."""
    shown = f"[{host}]" if ":" in host else host
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    return f"dial tcp {shown}:{port}: connect: {_words(error)}"


def _words(error: OSError) -> str:
    words = {
        errno.ECONNREFUSED: "connection refused",
        errno.ECONNRESET: "connection reset by peer",
        errno.EHOSTUNREACH: "no route to host",
        errno.ENETUNREACH: "network is unreachable",
        errno.ETIMEDOUT: "connection timed out",
    }
    return words.get(error.errno or 0, (error.strerror or str(error)).lower())


def _request(target: Target) -> bytes:
    names = {name.lower() for name in target.headers}
    host = f"[{target.host}]" if ":" in target.host else target.host
    defaults = {"Host": f"{host}:{target.port}", "User-Agent": USER_AGENT, "Accept": "*/*"}
    headers = {name: value for name, value in defaults.items() if name.lower() not in names}
    # An empty value means that the header is not to be sent.
    headers |= {name: value for name, value in target.headers.items() if value}
    lines = [f"GET {target.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1", "replace")


def _parse(target: Target, head: bytes) -> tuple[int, str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise GetError(f'Get "{target.url}": malformed HTTP response "{first}"')
    headers = (line.partition(":") for line in lines)
    location = next((v.strip() for k, _, v in headers if k.lower() == "location"), "")
    return int(words[1]), location
