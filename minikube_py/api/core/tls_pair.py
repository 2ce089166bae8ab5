"""Whether a certificate and a key belong together, in the words of Go's `tls.X509KeyPair`."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_BLOCK: Final = re.compile(
    rb"-----BEGIN (?P<kind>[^\r\n-]*)-----[ \t]*\r?\n.*?-----END (?P=kind)-----[^\S\n]*", re.DOTALL
)
_CERTIFICATE: Final = "CERTIFICATE"
_KEY: Final = "PRIVATE KEY"


class _Block(NamedTuple):
    kind: str
    text: bytes


def _blocks(text: bytes) -> Sequence[_Block]:
    return [_Block(m["kind"].decode(errors="replace"), m[0]) for m in _BLOCK.finditer(text)]


def problem(certificate: bytes, key: bytes) -> str:
    """Return why the pair is none, or ""."""
    given, keys = _blocks(certificate), _blocks(key)
    found = [block for block in given if block.kind == _CERTIFICATE]
    if not found:
        return _no_certificate([block.kind for block in given])
    own = next((b for b in keys if b.kind == _KEY or b.kind.endswith(f" {_KEY}")), None)
    if own is None:
        return _no_key([block.kind for block in keys])
    return _mismatch(found[0].text, own.text)


def _no_certificate(kinds: Sequence[str]) -> str:
    if not kinds:
        return "tls: failed to find any PEM data in certificate input"
    if len(kinds) == 1 and kinds[0].endswith(_KEY):
        return (
            "tls: failed to find certificate PEM data in certificate input, but did find a private "
            "key; PEM inputs may have been switched"
        )
    return (
        'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM '
        f"blocks of the following types: [{' '.join(kinds)}]"
    )


def _no_key(kinds: Sequence[str]) -> str:
    if not kinds:
        return "tls: failed to find any PEM data in key input"
    if len(kinds) == 1 and kinds[0] == _CERTIFICATE:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return (
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after '
        f"skipping PEM blocks of the following types: [{' '.join(kinds)}]"
    )


def _mismatch(certificate: bytes, key: bytes) -> str:
    # Heavy, and of use only for the few secrets of this type.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "x509: malformed certificate"
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "tls: failed to parse private key"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if type(public) is not type(private.public_key()):
        return "tls: private key type does not match public key type"
    if public.public_bytes(*form) != private.public_key().public_bytes(*form):
        return "tls: private key does not match public key"
    return ""
