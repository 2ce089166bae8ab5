"""The rules in a custom schema (x-kubernetes-validations): expressions that must hold.

A rule sees `self`, the value where it stands, and `oldSelf`, what stood there before. One that
names oldSelf is about changes: it is asked only where there was something, or with
`optionalOldSelf` always. What an update leaves as it was is judged by rules about changes alone
(ratcheting). Items of a list have a past only where the list is a map by its keys.
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api import cel
from minikube_py.api.cel import types
from minikube_py.api.cel.escaping import escape
from minikube_py.api.cel.types import Type
from minikube_py.api.cel.values import NONE, Optional
from minikube_py.api.fields import OMIT, Field, FieldError
from minikube_py.api.object import Obj

RULES: Final = "x-kubernetes-validations"
COST_MAX: Final = 10_000_000
"""What all rules of one write may cost together (upstream's RuntimeCELCostBudget)."""
CALL_COST_MAX: Final = 1_000_000
"""What one evaluation may cost (upstream's PerCallLimit)."""
_ABSENT: Final = object()
_OLD_SELF = re.compile(r"\boldSelf\b")
_SCALARS: Mapping[str, Type] = {
    "string": types.STRING,
    "integer": types.INT,
    "number": types.DOUBLE,
    "boolean": types.BOOL,
}
_FORMATS: Mapping[str, Type] = {
    "date": types.TIMESTAMP,
    "date-time": types.TIMESTAMP,
    "duration": types.DURATION,
    "byte": types.BYTES,
}
_ROOT_FIELDS: Obj = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
    },
}


class _Compiled(NamedTuple):
    """One rule, ready to be asked."""

    program: cel.Program
    message: cel.Program | None
    about_changes: bool
    rule: Obj

    @property
    def text(self) -> str:
        """What is said where the rule is broken."""
        given = (self.rule.get("message") or "").strip()
        return given or f"failed rule: {' '.join(self.rule['rule'].split())}"


class Checker:
    """The rules of one schema, compiled when first asked."""

    def __init__(self, root: Obj) -> None:
        self._root = with_root_fields(root)
        self._compiled: dict[int, Sequence[_Compiled]] = {}
        self._has_rules = any(True for _ in rules_in(self._root, Field()))

    def validate(self, new: Any, old: Any, path: Sequence[str] = ()) -> Iterator[FieldError]:
        """Report the rules that a value breaks; `path` leads to it from the root."""
        if not self._has_rules:
            return
        node, field = self._root, Field()
        for name in path:
            node, field = (node.get("properties") or {}).get(name) or {}, field / name
        yield from self._walk(node, new, _ABSENT if old is None else old, field, Budget())

    def _walk(
        self, node: Obj, value: Any, old: Any, field: Field, budget: "Budget"
    ) -> Iterator[FieldError]:
        if value is None:
            return
        if node.get(RULES):
            yield from self._ask(node, value, old, field, budget)
        for inner, below, before, where in _children(node, value, old, field):
            yield from self._walk(inner, below, before, where, budget)

    def _ask(
        self, node: Obj, value: Any, old: Any, field: Field, budget: "Budget"
    ) -> Iterator[FieldError]:
        unchanged = old is not _ABSENT and old == value
        for rule in self._rules(node):
            if unchanged and not rule.about_changes:
                continue
            bindings = _bindings(rule, value, old)
            if bindings is not None:
                yield from _judge(rule, bindings, value, field, budget)

    def _rules(self, node: Obj) -> Sequence[_Compiled]:
        known = self._compiled.get(id(node))
        if known is None:
            known = self._compiled[id(node)] = [
                compiled for rule in node[RULES] if (compiled := _try_compile(rule, node))
            ]
        return known


class Budget:
    """What is left of the cost that one write may have."""

    def __init__(self) -> None:
        self.left = COST_MAX


def with_root_fields(root: Obj) -> Obj:
    """Return the schema with the fields of every object that rules may read."""
    return {**root, "properties": {**(root.get("properties") or {}), **_ROOT_FIELDS}}


def _bindings(rule: _Compiled, value: Any, old: Any) -> dict[str, Any] | None:
    """Return what the rule sees; None where it has nothing to say."""
    if not rule.about_changes:
        return {"self": value}
    if rule.rule.get("optionalOldSelf"):
        return {"self": value, "oldSelf": NONE if old is _ABSENT else Optional(old, present=True)}
    return None if old is _ABSENT else {"self": value, "oldSelf": old}


def _judge(
    rule: _Compiled, bindings: Mapping[str, Any], value: Any, field: Field, budget: Budget
) -> Iterator[FieldError]:
    kind = "object" if isinstance(value, Mapping) else "array"
    shown = OMIT if isinstance(value, Mapping | list | tuple) else value
    try:
        result = rule.program.run(bindings, budget=min(CALL_COST_MAX, max(budget.left, 1)))
    except cel.CelCostError:
        text = "call cost exceeds limit for rule" if budget.left > 0 else "out of cost budget"
        yield field.invalid(kind, f"{text}: {rule.text}")
        return
    except cel.CelEvaluationError as error:
        yield field.invalid(
            kind if shown is OMIT else value, f"{error} evaluating rule: {rule.text}"
        )
        return
    budget.left -= result.cost
    if result.value is not True:
        yield _error(rule, _message(rule, bindings), shown, _at(field, rule))


def _message(rule: _Compiled, bindings: Mapping[str, Any]) -> str:
    if rule.message is None:
        return rule.text
    try:
        text = rule.message.evaluate(bindings, budget=CALL_COST_MAX)
    except (cel.CelCostError, cel.CelEvaluationError):
        return rule.text
    return text.strip() if isinstance(text, str) and text.strip() else rule.text


def _error(rule: _Compiled, text: str, shown: Any, field: Field) -> FieldError:
    match rule.rule.get("reason"):
        case "FieldValueForbidden":
            return field.forbidden(text)
        case "FieldValueRequired":
            return field.required(text)
        case "FieldValueDuplicate":
            return field.duplicate("" if shown is OMIT else shown)
        case _:
            return field.invalid(shown, text)


def _at(field: Field, rule: _Compiled) -> Field:
    """Return the field that a rule points to, below the one where it stands."""
    path = rule.rule.get("fieldPath") or ""
    for dotted, quoted in re.findall(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]", path):
        field = field / dotted if dotted else field[quoted]
    return field


def _children(
    node: Obj, value: Any, old: Any, field: Field
) -> Iterator[tuple[Obj, Any, Any, Field]]:
    """Yield the schemas, values and pasts of what is inside."""
    if isinstance(value, Mapping):
        before = old if isinstance(old, Mapping) else {}
        properties, others = node.get("properties") or {}, node.get("additionalProperties")
        for key, inner in value.items():
            if key in properties:
                yield properties[key], inner, before.get(key, _ABSENT), field / key
            elif isinstance(others, Mapping):
                yield others, inner, before.get(key, _ABSENT), field[key]
    elif isinstance(value, list) and isinstance(node.get("items"), Mapping):
        past = _past_items(node, old)
        for index, inner in enumerate(value):
            known = past.get(_identity(node, inner), _ABSENT)
            yield node["items"], inner, known, field[index]


def _past_items(node: Obj, old: Any) -> dict[Any, Any]:
    if node.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
        return {}
    return {_identity(node, item): item for item in old}


def _identity(node: Obj, item: Any) -> Any:
    keys = node.get("x-kubernetes-list-map-keys") or ()
    return tuple(str(item.get(key)) for key in keys) if isinstance(item, Mapping) else None


# --- compiling ------------------------------------------------------------------------------------


def rules_in(node: Obj, field: Field) -> Iterator[tuple[Obj, Obj, Field]]:
    """Yield every rule of a schema with the schema it stands in and where it stands."""
    for index, rule in enumerate(node.get(RULES) or ()):
        yield rule, node, (field / RULES)[index]
    for name, inner in (node.get("properties") or {}).items():
        yield from rules_in(inner, (field / "properties")[name])
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield from rules_in(node[key], field / key)


def validate_schema(root: Obj, field: Field) -> Iterator[FieldError]:
    """Report the rules of a schema that are no expressions of it."""
    for rule, node, where in rules_in(with_root_fields(root), field):
        try:
            compiled = _compile(rule, node)
        except cel.CelError as error:
            yield (where / "rule").invalid(rule["rule"], f"compilation failed: {error}")
            continue
        if compiled.program.type not in (types.BOOL, types.DYN):
            yield (where / "rule").invalid(rule["rule"], "cel expression must evaluate to a bool")


def _try_compile(rule: Obj, node: Obj) -> _Compiled | None:
    """Compile a stored rule; one that is not understood was stored before it was checked."""
    try:
        return _compile(rule, node)
    except cel.CelError:
        return None


def _compile(rule: Obj, node: Obj) -> _Compiled:
    about_changes = bool(_OLD_SELF.search(rule["rule"]))
    own = type_of(node)
    variables = {"self": own}
    if about_changes:
        variables["oldSelf"] = types.optional_of(own) if rule.get("optionalOldSelf") else own
    program = cel.compile(rule["rule"], variables)
    given = rule.get("messageExpression")
    message = cel.compile(given, variables) if given else None
    return _Compiled(program, message, about_changes, rule)


def type_of(node: Obj) -> Type:
    """Return the type that expressions see for a schema."""
    if node.get("x-kubernetes-int-or-string"):
        return types.DYN
    match node.get("type"):
        case "object":
            return _object_type(node)
        case "array":
            items = node.get("items")
            return types.list_of(type_of(items) if isinstance(items, Mapping) else types.DYN)
        case "string":
            return _FORMATS.get(node.get("format", ""), types.STRING)
        case kind:
            return _SCALARS.get(kind or "", types.DYN)


def _object_type(node: Obj) -> Type:
    properties, others = node.get("properties"), node.get("additionalProperties")
    if isinstance(others, Mapping):
        return types.map_of(types.STRING, type_of(others))
    if not properties or node.get("x-kubernetes-preserve-unknown-fields"):
        return types.DYN
    names = ((escape(name), inner) for name, inner in properties.items())
    fields = {name: type_of(inner) for name, inner in names if name is not None}
    return types.object_of("object", fields)
