"""The value of a string or bytes literal: prefixes, quotes and escapes."""

import re
from typing import Final

_LITERAL: Final = re.compile(r"([rRbB]*)('''|\"\"\"|'|\")(.*)\2", re.DOTALL)
_SIMPLE: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    r"|([0-3][0-7]{2})|(.?))",
    re.DOTALL,
)


def parse(text: str) -> str | bytes:
    """Return the value of a literal.

    Raises:
        ValueError: an escape is not one of CEL's.

    """
    match = _LITERAL.fullmatch(text)
    if match is None:
        raise ValueError("invalid string literal")
    prefix, body = match[1].lower(), match[3].replace("\r\n", "\n")
    if "b" in prefix:
        return body.encode() if "r" in prefix else _bytes(body)
    return body if "r" in prefix else _ESCAPE.sub(_character, body)


def _character(match: re.Match[str]) -> str:
    simple, hexadecimal, short, long, octal, other = match.groups()
    if simple:
        return _SIMPLE[simple]
    if other is not None:
        raise ValueError("unable to unescape string")
    code = int(octal, 8) if octal else int(hexadecimal or short or long, 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError("invalid unicode code point")
    return chr(code)


def _bytes(body: str) -> bytes:
    """Escapes of two hexadecimal or three octal digits are bytes, not code points."""
    parts, end = [], 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[end : match.start()].encode())
        _, hexadecimal, short, long, octal, _ = match.groups()
        if short or long:
            raise ValueError("unable to unescape bytes")
        plain = bool(hexadecimal or octal)
        parts.append(_character(match).encode("latin-1" if plain else "utf-8"))
        end = match.end()
    parts.append(body[end:].encode())
    return b"".join(parts)
