"""`int(x)`, `string(x)` and their like."""

from decimal import Decimal
from math import isfinite, isinf, isnan
from typing import Any, Final

from minikube_py.api.cel import cost, times
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.libraries.arithmetic import checked_int, checked_uint
from minikube_py.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    Type,
    type_of,
)
from minikube_py.api.cel.values import (
    INT_MAX,
    INT_MIN,
    NANO,
    UINT_MAX,
    Duration,
    Timestamp,
    Uint,
)
from minikube_py.api.cel.values import type_of as type_of_value

_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_DIGITS_MAX: Final = 400
_PLAIN_DIGITS: Final = 21
"""Shortest %g of Go has no exponent for up to so many digits before the point."""


def _unfit(target: Type) -> CelEvaluationError:
    return CelEvaluationError(f"type conversion error from 'string' to '{target.name}'")


def _text_to_int(text: str) -> int:
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _DIGITS_MAX:
        raise _unfit(INT)
    value = int(text)
    if not INT_MIN <= value <= INT_MAX:
        raise _unfit(INT)
    return value


def _text_to_uint(text: str) -> Uint:
    fits = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    if not fits or int(text) > UINT_MAX:
        raise _unfit(UINT)
    return Uint(text)


def _text_to_double(text: str) -> float:
    if text != text.strip() or not text.isascii():
        raise _unfit(DOUBLE)
    try:
        value = float(text)
    except ValueError:
        raise _unfit(DOUBLE) from None
    if isinf(value) and any(each.isdigit() for each in text):
        raise _unfit(DOUBLE)
    return value


def _text_to_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _unfit(BOOL)


def _text_to_time(text: str) -> Timestamp:
    try:
        return times.parse_timestamp(text)
    except CelEvaluationError as error:
        raise error if "overflow" in str(error) else _unfit(TIMESTAMP) from None


def _text_to_duration(text: str) -> Duration:
    try:
        return times.parse_duration(text)
    except CelEvaluationError:
        raise _unfit(DURATION) from None


def _double_to_int(value: float) -> int:
    if not isfinite(value) or not -(2.0**63) < value < 2.0**63:
        raise CelEvaluationError("integer overflow")
    return int(value)


def _double_to_uint(value: float) -> Uint:
    if not isfinite(value) or not 0 <= value < 2.0**64:
        raise CelEvaluationError("unsigned integer overflow")
    return Uint(value)


def show_double(value: float) -> str:
    """Print a double in as few digits as tell it apart, with an exponent where Go's %g has one."""
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, point = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    power = len(text) + int(point) - 1
    minus = "-" if sign else ""
    if value and not -4 <= power < max(len(text), _PLAIN_DIGITS):
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{minus}{text[0]}{fraction}e{power:+03}"
    return minus + f"{Decimal(repr(abs(value))):f}".removesuffix(".0")


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CelEvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


def _same(value: Any) -> Any:
    return value


def _identity(*types: Type) -> tuple[Overload, ...]:
    return tuple(Overload(_NAMES[each], (each,), each, _same) for each in types)


_NAMES: Final = {
    INT: "int", UINT: "uint", DOUBLE: "double", STRING: "string", BYTES: "bytes", BOOL: "bool",
    TIMESTAMP: "timestamp", DURATION: "duration",
}  # fmt: skip

OVERLOADS: Final = (
    *_identity(*_NAMES),
    Overload("int", (UINT,), INT, lambda value: checked_int(int(value))),
    Overload("int", (DOUBLE,), INT, _double_to_int),
    Overload("int", (STRING,), INT, _text_to_int),
    Overload("int", (TIMESTAMP,), INT, lambda value: value.nanos // NANO),
    Overload("int", (DURATION,), INT, lambda value: value.nanos),
    Overload("uint", (INT,), UINT, checked_uint),
    Overload("uint", (DOUBLE,), UINT, _double_to_uint),
    Overload("uint", (STRING,), UINT, _text_to_uint),
    Overload("double", (INT,), DOUBLE, float),
    Overload("double", (UINT,), DOUBLE, float),
    Overload("double", (STRING,), DOUBLE, _text_to_double),
    Overload("bool", (STRING,), BOOL, _text_to_bool),
    Overload("string", (BOOL,), STRING, lambda value: "true" if value else "false"),
    Overload("string", (INT,), STRING, str),
    Overload("string", (UINT,), STRING, str),
    Overload("string", (DOUBLE,), STRING, show_double),
    Overload("string", (BYTES,), STRING, _decode, cost=cost.first),
    Overload("string", (TIMESTAMP,), STRING, times.show_timestamp),
    Overload("string", (DURATION,), STRING, times.show_duration),
    Overload("bytes", (STRING,), BYTES, lambda value: value.encode(), cost=cost.first),
    Overload("timestamp", (STRING,), TIMESTAMP, _text_to_time),
    Overload("timestamp", (INT,), TIMESTAMP, lambda value: times.timestamp(value * NANO)),
    Overload("duration", (STRING,), DURATION, _text_to_duration),
    Overload("duration", (INT,), DURATION, times.duration),
    Overload("type", (A,), type_of(A), type_of_value),
)
