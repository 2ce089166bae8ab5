"""YAML as Kubernetes reads it: the types of YAML 1.2 JSON, nothing guessed.

PyYAML follows YAML 1.1, where `on` is true, `014` is twelve and `12:30` a number; Go's
sigs.k8s.io/yaml, which users' manifests are written for, does not turn dates into objects and
takes only `true`/`false`-like words of 1.1 as booleans.
"""

import math
import re
from typing import Any

import yaml

from minikube_py.api.yaml_reader import Reader


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
    return Reader(data, _Loader).one()


def load_all(data: bytes | str) -> list[Any]:
    """Return the documents of a text that are not empty."""
    return [document for document in Reader(data, _Loader).all() if document is not None]


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
    reader = Reader(data, _Loader)
    reader.one()
    return "\n  ".join(["yaml: unmarshal errors:", *reader.repeated]) if reader.repeated else ""


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
