r"""JSONPath as custom resource definitions use it: `.spec.replicas`, `.a[0].b`, `.c[*].d`.

The small part that printer columns, scale paths and selectable fields are made of: names, quoted
names in brackets (`['a.b']`), a backslash before a dot that belongs to a name, indices (also
negative ones), `*` and filters on one equality (`[?(@.type=="Ready")]`), as client-go's
`util/jsonpath` reads them.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

Step = Callable[[Any], Iterable[Any]]
PATH_MAX = 1024
"""Characters of a path; longer ones are refused."""
_TOKEN = re.compile(
    r"""\.(?P<star>\*)|\.(?P<name>(?:\\.|[^.\[\]\\])+)|\[\s*(?P<index>-?\d+)\s*\]|\[(?P<all>\*)\]"""
    r"""|\[\s*(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*\]"""
    r"""|\[\?\(\s*@(?P<left>\.[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<right>'[^']*'|"[^"]*"|[^)\s]+)\s*\)\]"""
)
_ESCAPED = re.compile(r"\\(.)")


@functools.lru_cache(maxsize=1024)
def compiled(path: str) -> tuple[Step, ...]:
    """Return the steps of a path; raises ValueError with what is wrong with it."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    if not text or len(text) > PATH_MAX:
        raise ValueError("is not a path")
    if text[0] not in ".[":
        text = f".{text}"
    steps: list[Step] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"unrecognized character in action: {text[place:]!r}")
        steps.append(_step(match))
        place = match.end()
    return tuple(steps)


def find(obj: Any, path: str) -> list[Any]:
    """Return all values at a path; raises ValueError where it is no path."""
    values = [obj]
    for step in compiled(path):
        values = [found for value in values for found in step(value)]
    return values


def names(path: str) -> tuple[str, ...] | None:
    """Return the field names of a path that is nothing but names, None for any other."""
    text = path if path.startswith(".") else f".{path}"
    parts: list[str] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or not (match["name"] or match["quoted"]):
            return None
        parts.append(_name(match))
        place = match.end()
    return tuple(parts)


def _name(match: re.Match[str]) -> str:
    return _ESCAPED.sub(r"\1", match["name"] or match["quoted"][1:-1])


def _step(match: re.Match[str]) -> Step:
    if match["star"] or match["all"]:
        return _children
    if match["index"]:
        return functools.partial(_at, int(match["index"]))
    if match["left"]:
        return _filter(match["left"], match["right"], equal=match["op"] == "==")
    return functools.partial(_field, _name(match))


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _at(index: int, value: Any) -> Iterable[Any]:
    if isinstance(value, list) and -len(value) <= index < len(value):
        return (value[index],)
    return ()


def _field(name: str, value: Any) -> Iterable[Any]:
    return (value[name],) if isinstance(value, Mapping) and name in value else ()


def _filter(left: str, right: str, *, equal: bool) -> Step:
    if right[:1] in "'\"":
        wanted: Any = right[1:-1]
    else:
        try:
            wanted = orjson.loads(right)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"cannot read {right!r} in a filter") from error

    def chosen(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            found = find(item, left)
            if found and (found[0] == wanted) == equal:
                yield item

    compiled(left)
    return chosen
