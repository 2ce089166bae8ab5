"""Signatures of a text by a shared secret, without the text (RFC 7515, appendix F).

A bootstrap token proves with them what comes from its cluster to a machine that knows nothing of
the cluster but the token.
"""

import base64
import hashlib
import hmac
import json


def detached(content: str, name: str, secret: str) -> str:
    """Return the signature of a text by the secret that goes by a name (HS256)."""
    header = _base64url(json.dumps({"alg": "HS256", "kid": name}, separators=(",", ":")).encode())
    signed = f"{header}.{_base64url(content.encode())}".encode()
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"{header}..{_base64url(mac)}"


def holds(signature: str, content: str, name: str, secret: str) -> bool:
    """Tell whether a signature is that of a text by a secret."""
    return hmac.compare_digest(signature.encode(), detached(content, name, secret).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
