"""Reading JSON bodies strictly: a key that stands twice is noticed.

The fast parser keeps the last of equal keys and says nothing. Whether there are any is seen by
writing the document again, which gives the same text where a program wrote it without spaces, or
else by counting: the text holds at least one `":` for every key, so where there are no more of them
than keys in the parsed document nothing was lost. Only else the body is read again, slowly, with
every pair kept, so that duplicate and unknown fields are named in the order of the text, and equal
keys are merged as Go's decoder merges them.
"""

import json
import re
from typing import Any, NamedTuple

import orjson

from minikube_py.api.object import Obj
from minikube_py.api.schema import Type
from minikube_py.api.schema_check import check

_COLON = re.compile(rb'"[ \t\r\n]*:')


class Decoded(NamedTuple):
    """An object and what a strict reader finds wrong with it."""

    obj: Obj
    problems: list[str]
    """`unknown field "spec.foo"`, `duplicate field "spec.replicas"`, in the order of the text."""


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object as they stand."""


def decode(kind: Type, data: bytes, *, strict: bool) -> Decoded:
    """Parse and check a JSON body; without `strict` duplicate keys are not looked for.

    Raises:
        ValueError: the bytes are no JSON.
        DecodeError: a value is of the wrong type.

    """
    body = orjson.loads(data)
    duplicates: list[str] = []
    if strict and has_duplicates(data, body):
        body, duplicates = read_all(data)
    checked = check(kind, body)
    return Decoded(checked.obj, in_order(duplicates, checked.unknown, data))


def has_duplicates(data: bytes, document: Any) -> bool:
    """Tell whether the text may hold a key twice; True also where a text value looks like a key."""
    written = orjson.dumps(document)
    if data.startswith(written) and not data[len(written) :].strip():
        return False
    return len(_COLON.findall(data)) > _keys(document)


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum([_keys(v) for v in value.values() if type(v) in (dict, list)])
    if isinstance(value, list):
        return sum([_keys(v) for v in value if type(v) in (dict, list)])
    return 0


def read_all(data: bytes) -> tuple[Any, list[str]]:
    """Return the document with equal keys merged, and the paths of keys that stand twice."""
    duplicates: list[str] = []
    pairs = json.loads(data, object_pairs_hook=_Pairs)
    return _merge(pairs, "", duplicates), duplicates


def _merge(value: Any, path: str, duplicates: list[str]) -> Any:
    if isinstance(value, _Pairs):
        out: dict[str, Any] = {}
        for name, inner in value:
            below = f"{path}.{name}" if path else name
            merged = _merge(inner, below, duplicates)
            if name in out:
                if below not in duplicates:
                    duplicates.append(below)
                merged = _over(out[name], merged)
            out[name] = merged
        return out
    if isinstance(value, list):
        return [_merge(inner, f"{path}[{i}]", duplicates) for i, inner in enumerate(value)]
    return value


def _over(first: Any, second: Any) -> Any:
    """Return what becomes of a field that is read twice: objects are merged, the rest replaced."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    below = {name: _over(first[name], second[name]) for name in second if name in first}
    return {**first, **second, **below}


def in_order(duplicates: list[str], unknown: list[str], data: bytes) -> list[str]:
    """Return the texts of all problems in the order in which a reader of the text meets them."""
    if not duplicates:
        return [f'unknown field "{path}"' for path in unknown]
    places = {path: place for place, path in enumerate(_paths(data))}
    found = [(places.get(path, 0), f'duplicate field "{path}"') for path in duplicates]
    found += [(places.get(path, 0), f'unknown field "{path}"') for path in unknown]
    return [text for _, text in sorted(found, key=lambda pair: pair[0])]


def _paths(data: bytes) -> list[str]:
    """Return the path of every key in the order of the text; a repeated one at its last place."""
    out: list[str] = []

    def walk(value: Any, path: str) -> None:
        if isinstance(value, _Pairs):
            for name, inner in value:
                below = f"{path}.{name}" if path else name
                out.append(below)
                walk(inner, below)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, f"{path}[{index}]")

    walk(json.loads(data, object_pairs_hook=_Pairs), "")
    return out
