"""From values of expressions to plain JSON, as cel-go converts them to a protobuf Value."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

from minikube_py.api.cel import times
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.values import NONE, Duration, Optional, Timestamp, Uint, from_key, kind_of


def to_json(value: Any) -> Any:
    """Return the JSON of a value: bytes as base64, times as texts; absent members are left out.

    Raises:
        CelEvaluationError: JSON has no word for it.

    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        there = (pair for pair in value.items() if pair[1] != NONE)
        return {_key(key): to_json(inner) for key, inner in there}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    convert = _SCALARS.get(type(value))
    if convert is None:
        raise CelEvaluationError(f"unsupported type conversion: '{kind_of(value)}' to JSON")
    return convert(value)


def _number(value: float) -> float | int:
    """Return a number as Go prints it: a whole one has no fraction."""
    if not isfinite(value):
        raise CelEvaluationError(f"unsupported value: {value}")
    return int(value) if value.is_integer() else value


def _key(key: Any) -> str:
    plain = from_key(key)
    if not isinstance(plain, str):
        raise CelEvaluationError(f"map key {plain!r} is of type {kind_of(plain)}, not string")
    return plain


def _present(value: Optional) -> Any:
    return to_json(value.value) if value.present else None


_SCALARS: Final[Mapping[type, Callable[[Any], Any]]] = {
    int: int,
    Uint: int,
    float: _number,
    bytes: lambda value: b64encode(value).decode(),
    Timestamp: times.show_timestamp,
    Duration: times.show_duration,
    Optional: _present,
}
