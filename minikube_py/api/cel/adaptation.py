"""JSON as its schema means it: 3 is a double where a number is expected, a text may be a time.

Upstream gives typed fields values of their type when they are read. An adapter does so for one
type; where JSON already is the value there is none. Objects are adapted as their fields are read.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from minikube_py.api.cel import times
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.types import BYTES, DOUBLE, DURATION, TIMESTAMP, UINT, Type
from minikube_py.api.cel.values import KeyedList, Uint

Adapter = Callable[[Any], Any]


def _double(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _uint(value: Any) -> Any:
    return Uint(value) if type(value) is int and value >= 0 else value


def _timestamp(value: Any) -> Any:
    return times.parse_timestamp(value) if isinstance(value, str) else value


def _duration(value: Any) -> Any:
    return times.parse_duration(value) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else value
    except ValueError:
        raise CelEvaluationError("illegal base64 data") from None


_SCALARS: Final[Mapping[Type, Adapter]] = {
    DOUBLE: _double,
    UINT: _uint,
    TIMESTAMP: _timestamp,
    DURATION: _duration,
    BYTES: _bytes,
}


def adapter(type_: Type) -> Adapter | None:
    """Return what turns JSON into values of the type, or None where nothing is to be done."""
    if type_.name not in {"list", "map"}:
        return _SCALARS.get(type_)
    inner = adapter(type_.parameters[-1]) if type_.parameters else None
    elements = _elementwise(inner, is_map=type_.name == "map") if inner is not None else None
    return elements if type_.list_keys is None else _keyed(elements, type_.list_keys)


def _keyed(elements: Adapter | None, keys: tuple[str, ...]) -> Adapter:
    def adapt(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return KeyedList(value if elements is None else elements(value), keys)

    return adapt


def _elementwise(inner: Adapter, *, is_map: bool) -> Adapter:
    def adapt_list(value: Any) -> Any:
        return [inner(each) for each in value] if isinstance(value, list | tuple) else value

    def adapt_map(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: inner(each) for key, each in value.items()}

    return adapt_map if is_map else adapt_list
