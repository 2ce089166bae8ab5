"""What Go's JSON decoder says of a text that is no JSON.

Clients show these words and match on them, so they are upstream's: the scanner of `encoding/json`
stops at the first byte that cannot follow and names it and the place it stands in.
"""

from typing import Final

_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789"
_HEX: Final = b"0123456789abcdefABCDEF"
_ESCAPES: Final = b'bfnrt\\/"'
_LITERALS: Final = {b"t": "true", b"f": "false", b"n": "null"}
DEPTH_MAX: Final = 10_000
"""Containers inside each other, beyond which Go's scanner gives up."""
_END: Final = "unexpected end of JSON input"


def syntax_error(data: bytes) -> str:
    """Return the text of the error, "" where Go takes the text for JSON."""
    try:
        place = _value(data, _skip(data, 0), "looking for beginning of value")
        place = _skip(data, place)
        if place < len(data):
            _refuse(data, place, "after top-level value")
    except _SyntaxError as error:
        return str(error)
    return ""


class _SyntaxError(Exception):
    """Carries the text out of the scanner."""


def _refuse(data: bytes, place: int, where: str) -> None:
    if place >= len(data):
        raise _SyntaxError(_END)
    raise _SyntaxError(f"invalid character {_quoted(data[place])} {where}")


def _quoted(byte: int) -> str:
    """Write a byte as Go's scanner does: as the character of that number, in single quotes."""
    escapes = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
    if byte in escapes:
        return f"'{escapes[byte]}'"
    character = chr(byte)
    if character in "'\\":
        return f"'\\{character}'"
    if byte < 32 or byte == 127:
        return f"'\\x{byte:02x}'"
    return f"'{character}'" if character.isprintable() else f"'\\u{byte:04x}'"


def _skip(data: bytes, place: int) -> int:
    while place < len(data) and data[place] in _SPACE:
        place += 1
    return place


def _value(data: bytes, place: int, where: str) -> int:
    """Return the place after a value; containers are walked with a stack, not by recursion."""
    closers: list[int] = []
    while True:
        place, opened = _scalar_or_open(data, _skip(data, place), where)
        if opened:
            closers.append(opened)
            if len(closers) > DEPTH_MAX:
                raise _SyntaxError("exceeded max depth")
            place = _skip(data, place)
            if place < len(data) and data[place] == opened:
                place += 1
                closers.pop()
            else:
                place = _key(data, place) if opened == ord("}") else place
                where = "looking for beginning of value"
                continue
        place = _close(data, place, closers)
        if not closers:
            return place
        place = _key(data, _skip(data, place)) if closers[-1] == ord("}") else place
        where = "looking for beginning of value"


def _close(data: bytes, place: int, closers: list[int]) -> int:
    """Go past what ends containers, and past the comma before their next member."""
    while closers:
        place = _skip(data, place)
        byte = data[place] if place < len(data) else None
        if byte == ord(","):
            return place + 1
        if byte != closers[-1]:
            in_object = closers[-1] == ord("}")
            _refuse(
                data, place, "after object key:value pair" if in_object else "after array element"
            )
        closers.pop()
        place += 1
    return place


def _key(data: bytes, place: int) -> int:
    """Return the place after an object's key and its colon."""
    if place >= len(data) or data[place] != ord('"'):
        _refuse(data, place, "looking for beginning of object key string")
    place = _skip(data, _string(data, place + 1))
    if place >= len(data) or data[place] != ord(":"):
        _refuse(data, place, "after object key")
    return place + 1


def _scalar_or_open(data: bytes, place: int, where: str) -> tuple[int, int]:
    """Return the place after a scalar or an opening bracket, and the bracket that closes it."""
    first = data[place : place + 1]
    if first == b"{":
        return place + 1, ord("}")
    if first == b"[":
        return place + 1, ord("]")
    if first == b'"':
        return _string(data, place + 1), 0
    if first in _LITERALS:
        return _literal(data, place, _LITERALS[first]), 0
    if first and (first == b"-" or first in _DIGITS):
        return _number(data, place), 0
    _refuse(data, place, where)
    return place, 0


def _string(data: bytes, place: int) -> int:
    while place < len(data):
        byte = data[place]
        if byte == ord('"'):
            return place + 1
        if byte < 32:
            _refuse(data, place, "in string literal")
        place = _escape(data, place + 1) if byte == ord("\\") else place + 1
    raise _SyntaxError(_END)


def _escape(data: bytes, place: int) -> int:
    if place < len(data) and data[place] in _ESCAPES:
        return place + 1
    if place >= len(data) or data[place] != ord("u"):
        _refuse(data, place, "in string escape code")
    for digit in range(place + 1, place + 5):
        if digit >= len(data) or data[digit] not in _HEX:
            _refuse(data, digit, "in \\u hexadecimal character escape")
    return place + 5


def _literal(data: bytes, place: int, word: str) -> int:
    for offset, letter in enumerate(word):
        if place + offset >= len(data) or data[place + offset] != ord(letter):
            _refuse(data, place + offset, f"in literal {word} (expecting '{letter}')")
    return place + len(word)


def _number(data: bytes, place: int) -> int:
    if data[place] == ord("-"):
        place += 1
        if place >= len(data) or data[place] not in _DIGITS:
            _refuse(data, place, "in numeric literal")
    place = place + 1 if data[place] == ord("0") else _digits(data, place)
    if data[place : place + 1] == b".":
        place = _needed(data, place + 1, "after decimal point in numeric literal")
    if data[place : place + 1] in (b"e", b"E"):
        place += 2 if data[place + 1 : place + 2] in (b"+", b"-") else 1
        place = _needed(data, place, "in exponent of numeric literal")
    return place


def _needed(data: bytes, place: int, where: str) -> int:
    if place >= len(data) or data[place] not in _DIGITS:
        _refuse(data, place, where)
    return _digits(data, place)


def _digits(data: bytes, place: int) -> int:
    while place < len(data) and data[place] in _DIGITS:
        place += 1
    return place
