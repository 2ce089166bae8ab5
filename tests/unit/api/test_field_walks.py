"""The fields of new objects: one pass over what was given tells what two over the whole would."""

import random

import orjson
import pytest

from minikube_py.api.field_walks import MissingKeyError, compare, created, zero
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.schema_check import check
from minikube_py.api.schema_complete import complete

KINDS = sorted({one.schema for one in BUILTIN if one.schema})
TYPES = {one.schema: one.type for one in BUILTIN if one.schema}
DEPTH = 7
SCALARS = {
    "string": ("", "a", "b"),
    "int32": (0, 1, 2),
    "int64": (0, 1, 2),
    "number": (0, 1.5),
    "boolean": (False, True),
    "bytes": ("", "YQ=="),
    "time": ("2026-01-02T03:04:05Z",),
    "microtime": ("2026-01-02T03:04:05.000006Z",),
    "quantity": ("0", "1"),
    "int-or-string": (0, 1, "a"),
    "any": ({"a": 1}, {}),
}


def made(kind, draw, depth=DEPTH):
    """Return some value of a type, with fields left out, empty and null."""
    if depth == 0 or draw.random() < 0.05:
        return None
    match kind.kind:
        case "object":
            names = [n for n in kind.field_names if n == "metadata" or draw.random() < 0.3]
            return {name: made(kind.field(name), draw, depth - 1) for name in names}
        case "map":
            return {
                key: made(kind.values, draw, depth - 1) for key in ("a", "b")[: draw.randrange(3)]
            }
        case "list":
            return [made(kind.items, draw, depth - 1) for _ in range(draw.randrange(3))]
        case scalar:
            return draw.choice(SCALARS[scalar])


@pytest.mark.parametrize("name", KINDS)
def test_what_a_new_object_owns_is_what_the_complete_one_has_beyond_zero_values(name):
    kind, told = TYPES[name], 0
    for seed in range(20):
        given = made(kind, random.Random(seed)) or {}  # noqa: S311 -- the same each time
        given["metadata"] = given.get("metadata") or {}
        try:
            obj = check(kind, given).obj
            wanted = compare(kind, zero(kind), complete(kind, obj))
        except ValueError:  # an element of a list without its key
            continue
        told += 1
        assert not wanted.removed
        assert orjson.dumps(created(kind, obj)) == orjson.dumps(wanted.changed)
    assert told


def test_an_element_without_its_key_is_told_of():
    pod = {"metadata": {}, "spec": {"containers": [None]}}
    with pytest.raises(MissingKeyError):
        created(TYPES["io.k8s.api.core.v1.Pod"], pod)
