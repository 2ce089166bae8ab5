"""What the expressions of a policy get wrong about the kinds that it is for.

The policy works all the same: kinds may be missing now and come later, so the findings stand in its
status only (`status.typeChecking`). The limits and texts are those of apiserver's
`policy/validating/typechecking.go`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api import cel
from minikube_py.api.admissionregistration import expressions
from minikube_py.api.cel import types
from minikube_py.api.cel.escaping import escape, unescape
from minikube_py.api.cel.types import DYN, Type
from minikube_py.api.object import Obj, get
from minikube_py.api.schema import Type as SchemaType

KINDS_MAX: Final = 10
_SCALARS: Final[Mapping[str, Type]] = {
    "string": types.STRING,
    "int32": types.INT,
    "int64": types.INT,
    "number": types.DOUBLE,
    "boolean": types.BOOL,
    "bytes": types.BYTES,
    "time": types.TIMESTAMP,
    "microtime": types.TIMESTAMP,
    "quantity": types.STRING,
    "int-or-string": DYN,
}


class Kind(NamedTuple):
    """A kind that expressions are checked against."""

    group: str
    version: str
    kind: str
    type: Type

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


Find = Callable[[str, str, str], Kind | None]
"""Finds the kind of a group, version and resource."""


def warnings(policy: Obj, find: Find, params: Type | None) -> list[dict[str, Any]]:
    """Return the expressionWarnings of a policy; `params` is the type of its paramKind."""
    spec = policy["spec"]
    kinds = _kinds(get(spec, "matchConstraints.resourceRules") or (), find)
    checks = [_Check(spec, kind, params) for kind in kinds]
    found = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for key in ("expression", "messageExpression"):
            text = validation.get(key)
            results = [each.issues(text) for each in checks] if text else []
            told = "\n".join(each for each in results if each)
            if told:
                reference = f"spec.validations[{index}].{key}"
                found.append({"fieldRef": reference, "warning": told})
    return found


def _kinds(rules: Iterable[Obj], find: Find) -> Sequence[Kind]:
    """Return the kinds that rules name, without wildcards and subresources."""
    found: dict[tuple[str, str, str], Kind] = {}
    for rule in rules:
        for group, version, resource in _named(rule):
            kind = find(group, version, resource)
            if kind is not None and len(found) < KINDS_MAX:
                found[kind.group, kind.version, kind.kind] = kind
    return [found[key] for key in sorted(found)]


def _named(rule: Obj) -> Iterator[tuple[str, str, str]]:
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if any("*" in each for each in (*groups, *versions)):
        return
    resources = sorted(
        each for each in rule.get("resources") or () if "*" not in each and "/" not in each
    )
    for group in sorted(groups):
        for version in sorted(versions):
            for resource in resources:
                yield group, version, resource


class _Check:
    """One policy against one kind."""

    def __init__(self, spec: Obj, kind: Kind, params: Type | None) -> None:
        self._kind = kind
        self._known = expressions.variables(params=params is not None)
        self._known |= {"object": kind.type, "oldObject": kind.type}
        if params is not None:
            self._known["params"] = params
        composed: dict[str, Type] = {}
        for variable in spec.get("variables") or ():
            self._compose(composed)
            composed[variable["name"]] = self._type_of(variable["expression"])
        self._compose(composed)

    def _compose(self, composed: Mapping[str, Type]) -> None:
        self._known["variables"] = types.object_of("kubernetes.variables", dict(composed))

    def _type_of(self, text: str) -> Type:
        try:
            return cel.compile(text, self._known).type
        except cel.CelError:
            return DYN

    def issues(self, text: str) -> str:
        """Say what is wrong with an expression, "" where nothing is."""
        try:
            cel.compile(text, self._known)
        except cel.CelError as error:
            return f"{self._kind}: {error}\n"
        return ""


# --- types of schemas -----------------------------------------------------------------------------


def type_of(schema: SchemaType) -> Type:
    """Return the type that expressions see for a schema."""
    return _type_of(schema) or DYN


def _type_of(schema: SchemaType) -> Type | None:
    """Return the type of a part of a schema; None for what expressions do not see."""
    match schema.kind:
        case "object":
            return types.object_of(schema.name.rpartition(".")[2] or "object", _Fields(schema))
        case "map":
            inner = _type_of(schema.values)
            return types.map_of(types.STRING, inner) if inner is not None else None
        case "list":
            inner = _type_of(schema.items)
            return types.list_of(inner) if inner is not None else None
        case kind:
            return _SCALARS.get(kind)


class _Fields(Mapping[str, Type]):
    """The fields of an object, each looked at when it is asked for: schemas hold themselves."""

    def __init__(self, schema: SchemaType) -> None:
        self._schema = schema

    def __getitem__(self, name: str) -> Type:
        inner = self._schema.field(unescape(name))
        found = _type_of(inner) if inner is not None else None
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        names = map(escape, self._schema.field_names)
        return (each for each in names if each is not None and each in self)

    def __len__(self) -> int:
        return len(self._schema.field_names)
