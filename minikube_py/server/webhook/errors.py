"""Why a webhook could not be asked, in the words of Go's net/http and client-go.

People search for these texts and clients match on some of them, so they are kept: "context
deadline exceeded", "connection refused", "x509: certificate signed by unknown authority".
"""

import errno
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import orjson

TEXT_MAX = 2048
"""Characters of an unexpected answer that an error shows (client-go's limit of such texts)."""
_UNVERIFIED = {
    10: "certificate has expired or is not yet valid",
    9: "certificate has expired or is not yet valid",
}
"""OpenSSL's codes of verification -> Go's words; most others are about the authority."""
_NAME_MISMATCH = (62, 64)
_STATUS_WORDS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    415: "the body of the request was in an unknown format",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be "
    "processing the request",
}


class WebhookError(Exception):
    """A webhook gave no answer that can be used; the text says why."""

    def __init__(self, text: str, *, passes: bool = False) -> None:
        super().__init__(text)
        self.passes = passes
        """Whether it is worth asking again soon."""


def why(error: BaseException, server_name: str) -> str:
    """Return why a request failed on its way."""
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words if isinstance(words, str) else words(error, server_name)
    return "net/http: HTTP/1.x transport connection broken: malformed HTTP response"


def _undialled(error: aiohttp.ClientConnectorError, server_name: str) -> str:
    inner = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(inner, ssl.SSLError):
        return _unsecured(inner, server_name)
    where = f"dial tcp {_netloc(error.host, error.port)}"
    if isinstance(inner, ConnectionRefusedError):
        return f"{where}: connect: connection refused"
    return f"{where}: connect: {(inner.strerror or str(inner)).lower()}"


def _netloc(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unverified(error: Exception, server_name: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    if code in _NAME_MISMATCH:
        text = f"certificate is not valid for any names, but wanted to match {server_name}"
    else:
        text = _UNVERIFIED.get(code, "certificate signed by unknown authority")
    return f"tls: failed to verify certificate: x509: {text}"


def _unsecured(error: ssl.SSLError, server_name: str) -> str:
    del server_name
    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
        return "EOF"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "tls: first record does not look like a TLS handshake"
    return f"tls: {(error.reason or 'handshake failure').replace('_', ' ').lower()}"


def _of_system(error: OSError, server_name: str) -> str:
    del server_name
    if error.errno == errno.ECONNRESET:
        return "read: connection reset by peer"
    return (error.strerror or str(error)).lower()


_WORDS: Sequence[tuple[Any, str | Callable[[Any, str], str]]] = (
    (TimeoutError, "context deadline exceeded"),
    (aiohttp.ClientConnectorCertificateError, _unverified),
    (ssl.SSLCertVerificationError, _unverified),
    (aiohttp.ClientConnectorError, _undialled),
    (aiohttp.ServerDisconnectedError, "EOF"),
    (aiohttp.ClientPayloadError, "unexpected EOF"),
    (ConnectionResetError, "read: connection reset by peer"),
    (BrokenPipeError, "write: broken pipe"),
    (ssl.SSLError, _unsecured),
    (OSError, _of_system),
)
"""The first that an error is says it."""


def refused(status: int, content_type: str, data: bytes) -> str:
    """Return what an answer that is no success says; a Status speaks for itself."""
    try:
        document = orjson.loads(data)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        message = document.get("message")
        if isinstance(message, str) and message:
            return message[:TEXT_MAX]
    is_text = content_type.startswith("text/")
    text = data[:TEXT_MAX].decode(errors="replace").strip() if is_text else "unknown"
    if status == 403:
        return text
    known = _STATUS_WORDS.get(status)
    if known is not None:
        return known
    if status >= 500:
        quoted = orjson.dumps(text).decode()
        return f"an error on the server ({quoted}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more details"


def unreadable(data: bytes, error: ValueError) -> str:
    """Return what is wrong with an answer that is no JSON."""
    text = data.lstrip()
    if not text:
        what = "unexpected end of JSON input"
    elif text[:1] not in b'{["-0123456789tfn':
        first = text[:4].decode(errors="replace")[0]
        what = f"invalid character '{first}' looking for beginning of value"
    else:
        what = str(error)
    return f"couldn't get version/kind; json parse error: {what}"
