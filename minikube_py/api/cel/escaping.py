"""Names of properties as expressions write them: `a-b` is `a__dash__b`, `in` is `__in__`.

The rule is that of custom resources' validation rules and admission policies.
"""

import re
from typing import Final

from minikube_py.api.cel.tokens import RESERVED

_SYMBOLS: Final = {"__": "underscores", ".": "dot", "-": "dash", "/": "slash"}
_NAMES: Final = {f"__{name}__": symbol for symbol, name in _SYMBOLS.items()}
_KEYWORDS: Final = RESERVED | {"true", "false", "null", "in"}
_UNESCAPED: Final = re.compile(r"[A-Za-z_.\-/][A-Za-z0-9_.\-/]*", re.ASCII)


def escape(name: str) -> str | None:
    """Return how expressions write a property, or None where they cannot."""
    if name in _KEYWORDS:
        return f"__{name}__"
    if not _UNESCAPED.fullmatch(name):
        return None
    return re.sub(r"__|[.\-/]", lambda match: f"__{_SYMBOLS[match[0]]}__", name)


def unescape(name: str) -> str:
    """Return the property that a field of an expression means."""
    if "__" not in name:
        return name
    if name[2:-2] in _KEYWORDS and name == f"__{name[2:-2]}__":
        return name[2:-2]
    return re.sub("__(?:underscores|dot|dash|slash)__", lambda match: _NAMES[match[0]], name)
