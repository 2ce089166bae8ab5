"""Free-form values whose text counts (Go's runtime.RawExtension).

Upstream keeps such a value as the bytes that the client sent and compares the bytes: of two that
mean the same, one written with blanks, the other without, it says that they differ. A patch writes
the value anew, without blanks. So a value whose text is not as we would write it is a `RawText`
here, equal only to one of the same text; all others are plain and compared as what they mean.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from json import decoder, scanner
from typing import Any

import orjson

from minikube_py.api.object import Obj

Path = tuple[str, ...]
"""Names of fields; `[]` goes into every item of a list."""
ITEMS = "[]"
BYTES_MAX = 256 << 10
"""In a longer text every value counts as what it means: finding them takes 1 ms for 20 KB."""


class RawText(dict[str, Any]):
    """A value that is not written as we would write it."""

    __slots__ = ("text",)
    __hash__ = None

    def __init__(self, value: Mapping[str, Any], text: str) -> None:
        super().__init__(value)
        self.text = text

    def __eq__(self, other: object) -> bool:
        """Tell whether the other has the same text."""
        return isinstance(other, RawText) and other.text == self.text

    def __ne__(self, other: object) -> bool:
        """Tell whether the other has another text."""
        return not self == other


class _Decoder(json.JSONDecoder):
    """Reads objects together with their text."""

    def __init__(self) -> None:
        super().__init__()
        self.parse_object = _read_object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]


def _read_object(place: tuple[str, int], *context: Any) -> tuple[RawText, int]:
    text, start = place
    value, end = decoder.JSONObject(place, *context)  # type: ignore[attr-defined]
    return RawText(value, text[start - 1 : end]), end


def load(data: bytes, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the object of a JSON text, with the values at these paths as they are written."""
    obj: dict[str, Any] = orjson.loads(data)
    return kept(obj, data, paths)


def kept(obj: Obj, data: bytes, paths: Sequence[Path]) -> dict[str, Any]:
    """Return an object that was read from a text, with the values at these paths as written."""
    plain = dict(obj)
    if len(data) > BYTES_MAX or not any(True for path in paths for _ in _found(plain, path)):
        return plain
    if orjson.dumps(orjson.loads(data)) == data:
        return plain
    try:
        read = _Decoder().decode(data.decode())
    except (ValueError, RecursionError):
        return plain  # what orjson alone can read
    for path in paths:
        texts = dict(_found(read, path))
        plain = _changed(plain, path, lambda place, value: _of(value, texts.get(place)))  # noqa: B023
    return plain


def _of(value: Any, read: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(read, RawText):
        return value
    return value if orjson.dumps(value).decode() == read.text else RawText(value, read.text)


def flat(obj: Obj, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the object with all values as we would write them: what a patch makes of it."""
    done = dict(obj)
    for path in paths:
        done = _changed(done, path, lambda _, value: _flat(value))
    return done


def _flat(value: Any) -> Any:
    return dict(value) if isinstance(value, RawText) else value


def written(obj: Obj, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the object so that `orjson.dumps` writes each value with the text that it has."""
    done = dict(obj)
    for path in paths:
        done = _changed(done, path, lambda _, value: _fragment(value))
    return done


def _fragment(value: Any) -> Any:
    return orjson.Fragment(value.text) if isinstance(value, RawText) else value


Place = tuple[str | int, ...]


def _found(value: Any, path: Path, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield the values at a path and where each is."""
    if not path:
        yield place, value
    elif path[0] == ITEMS:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _found(item, path[1:], (*place, index))
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _found(value[path[0]], path[1:], (*place, path[0]))


def _changed(value: Any, path: Path, change: Callable[[Place, Any], Any], place: Place = ()) -> Any:
    """Return a value with what is at a path changed; what stays is shared."""
    if not path:
        return change(place, value)
    head, rest = path[0], path[1:]
    if head == ITEMS:
        if not isinstance(value, list):
            return value
        return [_changed(item, rest, change, (*place, n)) for n, item in enumerate(value)]
    if not isinstance(value, Mapping) or head not in value:
        return value
    return {**value, head: _changed(value[head], rest, change, (*place, head))}
