"""YAML as Kubernetes reads it: the types of YAML 1.2 JSON, nothing guessed.

PyYAML follows YAML 1.1, where `on` is true, `014` is twelve and `12:30` a number; Go's
sigs.k8s.io/yaml, which users' manifests are written for, does not turn dates into objects and
takes only `true`/`false`-like words of 1.1 as booleans.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import orjson
import yaml

NODES_MAX = 500_000
"""Nodes of one document, aliases counted: an alias bomb is refused, not expanded."""


NESTING_MAX = 1_000
"""Collections inside each other; the C loader recurses and would end the process much deeper."""


class _Loader(yaml.CSafeLoader):
    """The C loader with its own table of implicit types."""


_Loader.yaml_implicit_resolvers = {}
NUMBERS = range(-(2**63), 2**64)
"""Integers that Go's decoders have a type for; what is beyond is a float to them."""


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """Return an integer as Go reads it: a float beyond 64 bits, text beyond floats."""
    try:
        value = loader.construct_yaml_int(node)
        return value if value in NUMBERS else float(value)
    except (OverflowError, ValueError):
        return loader.construct_scalar(node)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> Any:
    value = loader.construct_yaml_float(node)
    if math.isinf(value):
        raise ValueError("json: unsupported value: +Inf")
    return value


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_BOOL = r"^(?:[tT]rue|TRUE|[fF]alse|FALSE|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF)$"
_INT = r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)$"
_FRACTION = r"[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
_FLOAT = rf"^[-+]?(?:{_FRACTION}|[0-9]+[eE][-+]?[0-9]+)$"
_NULL = r"^(?:~|null|Null|NULL|)$"


class _Dumper(yaml.CSafeDumper):
    """The C dumper, which also takes the read-only maps of caches.

    It quotes text that either version of YAML would read as something else.
    """


for _tag, _pattern, _first in (
    # type, what it looks like, its first characters ("": an empty scalar)
    ("bool", _BOOL, [*"tTfFyYnNoO"]),
    ("int", _INT, [*"-+0123456789"]),
    ("float", _FLOAT, [*"-+0123456789."]),
    ("merge", r"^<<$", ["<"]),
    ("null", _NULL, [*"~nN", ""]),
):
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)

_Dumper.add_multi_representer(dict, yaml.CSafeDumper.represent_dict)


def load(data: bytes | str) -> Any:
    """Return the one document of a text; raises ValueError or yaml.YAMLError."""
    _check_nesting(data)
    document = yaml.load(data, Loader=_Loader)  # noqa: S506 -- a safe loader
    _bound(document)
    return document


def load_all(data: bytes | str) -> list[Any]:
    """Return the documents of a text that are not empty."""
    _check_nesting(data)
    documents = [d for d in yaml.load_all(data, Loader=_Loader) if d is not None]
    _bound(documents)
    return documents


def _check_nesting(data: bytes | str) -> None:
    """Refuse a document that is too deep; the events that show it are read without recursion."""
    text = data.encode() if isinstance(data, str) else data
    if sum(text.count(mark) for mark in (b"[", b"{", b"-", b":", b"?")) <= NESTING_MAX:
        return
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > NESTING_MAX:
                raise ValueError(f"the document is nested more than {NESTING_MAX} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _bound(document: Any) -> None:
    """Refuse what grew by aliases beyond any honest size, and keys that JSON cannot have."""
    stack, seen = [document], 0
    while stack:
        value = stack.pop()
        seen += 1
        if seen > NODES_MAX:
            raise ValueError("document contains excessive aliasing")
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def error_text(error: Exception) -> str:
    """Return what Go's parser says of the same text: `yaml: line 2: did not find ...`.

    It counts lines from nought, but for what its scanner finds, and leaves the first one out.
    """
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"yaml: {error}"
    marks = (error.context_mark, error.problem_mark)
    line = next((mark.line for mark in marks if mark is not None and mark.line), 0)
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    where = f"line {line}: " if line else ""
    return f"yaml: {where}{error.problem or 'unknown problem parsing YAML content'}"


def repeated_keys(data: bytes | str) -> str:
    """Return what Go's strict parser says of keys that stand twice, "" where none does."""
    root = yaml.compose(data, Loader=_Loader)
    found = [] if root is None else list(_repeated(root))
    return "\n  ".join(["yaml: unmarshal errors:", *found]) if found else ""


def _repeated(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        yield from _repeated(value)
        name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
        if name in seen:
            text = orjson.dumps(key.value).decode() if key.tag.endswith(":str") else key.value
            yield f"line {value.start_mark.line + 1}: key {text} already set in map"
        seen.add(name)


def dump(document: Any) -> bytes:
    """Return a document as YAML text, keys sorted as Go's marshaller does."""
    text: bytes = yaml.dump(
        document,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        encoding="utf-8",
        width=1_000_000,
    )
    return text
