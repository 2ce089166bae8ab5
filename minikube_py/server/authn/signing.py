"""The key that signs service-account tokens, and the tokens' outer form (RFC 7519).

RSA is the default although certificates are on P-256: OpenID Connect Discovery demands RS256, some
clouds take nothing else, and verifying, the hot half, costs 21 µs against 70.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from minikube_py.lib.pki import SigningKey

Claims = Mapping[str, Any]


class TokenSigner:
    """Signs claims and reads them back; knows nothing of what they mean."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._public = key.public_key()
        self.algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        self.key_id = key_id(self._public)

    def sign(self, claims: Claims) -> str:
        """Return the token of claims."""
        headers = {"kid": self.key_id, "typ": None}
        return jwt.encode(dict(claims), self._key, self.algorithm, headers=headers)

    def read(self, token: str) -> Claims:
        """Return the claims of a token that this key signed; times and audiences unchecked.

        Raises:
            ValueError: it is no token, or not signed by this key.

        """
        options: Any = dict.fromkeys(
            ("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False
        )
        try:
            claims: Claims = jwt.decode(
                token, self._public, algorithms=[self.algorithm], options=options
            )
        except jwt.PyJWTError as error:
            raise ValueError(str(error)) from error
        return claims

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key Set (RFC 7517)."""
        key = (
            RSAAlgorithm.to_jwk(self._public)
            if isinstance(self._public, rsa.RSAPublicKey)
            else ECAlgorithm.to_jwk(self._public)
        )
        public = {name: value for name, value in json.loads(key).items() if name != "key_ops"}
        return {
            "keys": [{**public, "use": "sig", "alg": self.algorithm, "kid": self.key_id}],
        }


def key_id(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    """Return upstream's name of a key: unpadded base64url of SHA-256 of its DER form."""
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def issuer_of(token: str) -> str:
    """Return who claims to have issued a token, without any check; "" where it is no token."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except ValueError:
        return ""
    return str(claims.get("iss", "")) if isinstance(claims, dict) else ""
