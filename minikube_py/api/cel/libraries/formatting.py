"""`"%s has %d".format([a, b])`: the verbs s d f e x X o b and %."""

import re
from collections.abc import Callable, Iterator, Mapping
from math import isinf, isnan
from typing import Any, Final

from minikube_py.api.cel import times
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.libraries.conversions import show_double
from minikube_py.api.cel.types import Type
from minikube_py.api.cel.values import from_key, kind_of

PRECISION_MAX: Final = 1000
_VERB: Final = re.compile(r"%(?:\.(\d{1,9}))?(.?)", re.DOTALL | re.ASCII)


def format_text(text: str, arguments: Any) -> str:
    """Fill the verbs of the text with the arguments, in order.

    Raises:
        CelEvaluationError: a verb is unknown, lacks its argument or cannot print it.

    """
    values = iter(enumerate(arguments))

    def fill(match: re.Match[str]) -> str:
        precision, verb = match.groups()
        if verb == "%":
            return "%"
        if verb not in _VERBS:
            raise CelEvaluationError(
                f'could not parse formatting clause: unrecognized formatting clause "{verb}"'
            )
        return _fill(values, verb, 6 if precision is None else int(precision))

    return _VERB.sub(fill, text)


def _fill(values: Iterator[tuple[int, Any]], verb: str, precision: int) -> str:
    position, value = next(values, (-1, None))
    if position < 0:
        raise CelEvaluationError("index 0 out of range")
    if precision > PRECISION_MAX:
        raise CelEvaluationError("precision is too large")
    return _VERBS[verb](value, precision)


def _mismatch(verb: str, what: str, value: Any) -> CelEvaluationError:
    return CelEvaluationError(
        f"error during formatting: {verb} clause can only be used on {what},"
        f" was given {kind_of(value)}"
    )


def _string(value: Any, _precision: int = 0) -> str:
    shown = _SHOWN.get(kind_of(value))
    if shown is None:
        raise _mismatch(
            "string",
            "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
            value,
        )
    return shown(value)


def _list(value: Any) -> str:
    return f"[{', '.join(map(_string, value))}]"


def _map(value: Mapping[Any, Any]) -> str:
    pairs = sorted((_string(from_key(key)), _string(each)) for key, each in value.items())
    return f"{{{', '.join(f'{key}: {each}' for key, each in pairs)}}}"


_SHOWN: Final[Mapping[str, Callable[[Any], str]]] = {
    "string": str,
    "bool": lambda value: str(value).lower(),
    "bytes": lambda value: value.decode(errors="replace"),
    "int": str,
    "uint": str,
    "double": show_double,
    "null_type": lambda _: "null",
    "type": lambda value: value.name if isinstance(value, Type) else "",
    "list": _list,
    "map": _map,
    "google.protobuf.Timestamp": times.show_timestamp,
    "google.protobuf.Duration": times.show_duration,
}


def _decimal(value: Any, _precision: int) -> str:
    if isinstance(value, float) and (isnan(value) or isinf(value)):
        return show_double(value).replace("+Inf", "Infinity").replace("Inf", "Infinity")
    if type(value) is bool or not isinstance(value, int):
        raise _mismatch("decimal", "integers", value)
    return str(value)


def _float(form: str) -> Callable[[Any, int], str]:
    what = "fixed-point" if form == "f" else "scientific"

    def show(value: Any, precision: int) -> str:
        if type(value) is bool or not isinstance(value, float | int):
            raise _mismatch(what, "doubles", value)
        if isnan(value):
            return "NaN"
        if isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return f"{value:.{precision}{form}}"

    return show


def _hexadecimal(form: str) -> Callable[[Any, int], str]:
    def show(value: Any, _precision: int) -> str:
        if isinstance(value, str | bytes):
            raw = value.encode() if isinstance(value, str) else value
            return raw.hex() if form == "x" else raw.hex().upper()
        if type(value) is bool or not isinstance(value, int):
            raise _mismatch("hex", "integers, byte buffers, and strings", value)
        return f"{value:{form}}"

    return show


def _radix(form: str) -> Callable[[Any, int], str]:
    what = "octal" if form == "o" else "binary"
    taken = "integers" if form == "o" else "integers and bools"

    def show(value: Any, _precision: int) -> str:
        if not isinstance(value, int) or (type(value) is bool and form == "o"):
            raise _mismatch(what, taken, value)
        return f"{int(value):{form}}"

    return show


_VERBS: Final[Mapping[str, Callable[[Any, int], str]]] = {
    "s": _string,
    "d": _decimal,
    "f": _float("f"),
    "e": _float("e"),
    "x": _hexadecimal("x"),
    "X": _hexadecimal("X"),
    "o": _radix("o"),
    "b": _radix("b"),
}
