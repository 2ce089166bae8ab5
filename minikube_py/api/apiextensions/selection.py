"""Fields of custom objects that field selectors may name: plain values of the schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api.fields import Field, FieldError
from minikube_py.api.jsonpath import names
from minikube_py.api.object import Obj

FIELDS_MAX: Final = 8
_SCALARS: Final = frozenset({"string", "boolean", "integer"})
_NO_SCALAR: Final = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings "
    "with formats are allowed."
)


def validate(chosen: Sequence[Obj], root: Obj | None, field: Field) -> Iterator[FieldError]:
    """Report selectable fields that the schema does not have, or not as a plain value."""
    if root is None:
        yield field.invalid("", "may only be set when validations.schema is included")
        return
    seen: set[tuple[str, ...]] = set()
    for index, one in enumerate(chosen):
        path = one.get("jsonPath") or ""
        steps = tuple(names(path) or ())
        node = find(root, steps) if steps else None
        if node is None:
            yield _unknown(path, field[index] / "jsonPath")
            continue
        if steps[0] == "metadata":
            yield field[index].invalid(path, "must not point to fields in metadata")
        if node.get("type") not in _SCALARS or node.get("x-kubernetes-int-or-string"):
            yield field[index].invalid(path, _NO_SCALAR)
        if steps in seen:
            yield field[index].duplicate(path)
        seen.add(steps)
    if len(seen) > FIELDS_MAX:
        yield field.too_many(len(seen), FIELDS_MAX)


def _unknown(path: str, at: Field) -> FieldError:
    if not path:
        return at.required()
    return at.invalid(path, "is an invalid path: does not refer to a valid field")


def find(root: Obj, steps: Sequence[str]) -> Obj | None:
    """Return the schema of a field, or None where there is none."""
    node: Obj = root
    for depth, step in enumerate(steps):
        properties = node.get("properties") or {}
        others = node.get("additionalProperties")
        if step in properties:
            node = properties[step]
        elif isinstance(others, Mapping):
            node = others
        elif depth == 0 and step == "metadata":
            node = {"properties": {"name": {"type": "string"}, "namespace": {"type": "string"}}}
        else:
            return None
    return node
