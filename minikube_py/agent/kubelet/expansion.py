"""`$(NAME)` in commands, arguments, environment values and sub-paths.

A reference to a name that is not known stays as it is written, `$$` stands for one `$`, and what
was put in is not looked at again (k8s.io/kubernetes third_party/forked/golang/expansion).
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its references replaced."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        return values.get(name, match[0])

    return _REFERENCE.sub(replaced, text)


def unknown_names(text: str, values: Mapping[str, str]) -> list[str]:
    """Return the names that the text refers to and nobody knows."""
    return [name for name in _REFERENCE.findall(text) if name and name not in values]
