"""`base64.encode` and `base64.decode`; decoding does without padding too."""

import binascii
from base64 import b64decode, b64encode
from typing import Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.types import BYTES, STRING


def _decode(text: str) -> bytes:
    try:
        return b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CelEvaluationError("illegal base64 data") from None


OVERLOADS: Final = (
    Overload(
        "base64.encode", (BYTES,), STRING, lambda data: b64encode(data).decode(), cost=cost.made
    ),
    Overload("base64.decode", (STRING,), BYTES, _decode, cost=cost.made),
)
