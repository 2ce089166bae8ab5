"""The rules in a custom schema (x-kubernetes-validations): expressions that must hold.

A rule sees `self`, the value where it stands, and `oldSelf`, what stood there before. One that
names oldSelf is about changes: it is asked only where there was something, or with
`optionalOldSelf` always. What an update leaves as it was is judged by rules about changes alone
(ratcheting). Items of a list have a past only where the list is a map by its keys.
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api import cel
from minikube_py.api.apiextensions.declarations import declaration_of
from minikube_py.api.apiextensions.rule_validation import RULES, steps_of, variables
from minikube_py.api.cel import types
from minikube_py.api.cel.adaptation import Adapter, adapter
from minikube_py.api.cel.types import Type
from minikube_py.api.cel.values import NONE, Optional
from minikube_py.api.fields import OMIT, Field, FieldError, quote
from minikube_py.api.object import Obj

COST_MAX: Final = 10_000_000
"""What all rules of one write may cost together (upstream's RuntimeCELCostBudget)."""
CALL_COST_MAX: Final = 1_000_000
"""What one evaluation may cost (upstream's PerCallLimit)."""
MESSAGE_BYTES_MAX: Final = 5 * 1024
"""What a messageExpression may give."""
OUT_OF_BUDGET: Final = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)
_TOO_DEAR: Final = "no further validation rules will be run due to call cost exceeds limit for rule"
_MESSAGE_TOO_DEAR: Final = (
    "no further validation rules will be run due to call cost exceeds limit for messageExpression"
)
_MESSAGE_OUT_OF_BUDGET: Final = (
    "messageExpression evaluation failed due to running out of cost budget, no further validation "
    "rules will be run"
)
_NO_OVERLOAD: Final = (
    "call arguments did not match a supported operator, function or macro signature for rule"
)
_ABSENT: Final = object()


class _Compiled(NamedTuple):
    """One rule, ready to be asked."""

    program: cel.Program
    message: cel.Program | None
    about_changes: bool
    rule: Obj

    @property
    def text(self) -> str:
        """The message, else the rule itself."""
        return (self.rule.get("message") or "").strip() or str(self.rule["rule"]).strip()

    @property
    def failure(self) -> str:
        """What is said where the rule is broken."""
        given = (self.rule.get("message") or "").strip()
        return given or f"failed rule: {self.text}"


class Checker:
    """The rules of one schema, compiled when first asked."""

    def __init__(self, root: Obj) -> None:
        self._root = root
        self._compiled: dict[int, _Rules] = {}
        self._has_rules = any(True for _ in rules_in(self._root))

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
        rules = self._rules(node)
        shown = OMIT if isinstance(value, Mapping | list | tuple) else value
        for rule in rules.rules:
            if budget.left < 0:
                return
            if unchanged and not rule.about_changes:
                continue
            bindings = _bindings(rule, value, old, rules.fit)
            if bindings is None:
                continue
            for where, text, broken in _judge(rule, bindings, node, field, budget):
                if broken:
                    yield _error(rule, text, shown, where)
                else:
                    yield where.invalid(node.get("type") or "", text)

    def _rules(self, node: Obj) -> "_Rules":
        known = self._compiled.get(id(node))
        if known is None:
            known = self._compiled[id(node)] = _rules_of(node, root=node is self._root)
        return known


class Budget:
    """What is left of the cost that one write may have; below 0 nothing more is asked."""

    def __init__(self) -> None:
        self.left = COST_MAX

    def spend(self, units: int) -> None:
        """Take units."""
        self.left -= units


class _Rules(NamedTuple):
    """The rules of one node, and what makes values of expressions of its JSON."""

    rules: Sequence[_Compiled]
    fit: Adapter


def _rules_of(node: Obj, *, root: bool) -> _Rules:
    declared = declaration_of(node, root=root)
    own = types.DYN if declared is None else declared.type
    compiled = (_try_compile(rule, own) for rule in node[RULES])
    return _Rules([each for each in compiled if each is not None], adapter(own) or _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value


def _bindings(rule: _Compiled, value: Any, old: Any, fit: Adapter) -> dict[str, Any] | None:
    """Return what the rule sees; None where it has nothing to say."""
    if not rule.about_changes:
        return {"self": fit(value)}
    if rule.rule.get("optionalOldSelf"):
        past = NONE if old is _ABSENT else Optional(fit(old), present=True)
        return {"self": fit(value), "oldSelf": past}
    return None if old is _ABSENT else {"self": fit(value), "oldSelf": fit(old)}


class _FailedError(Exception):
    """A rule or its message has no value; the text is for the user."""


def _judge(
    rule: _Compiled, bindings: Mapping[str, Any], node: Obj, field: Field, budget: Budget
) -> Iterator[tuple[Field, str, bool]]:
    """Yield where a rule fails, why, and whether it was asked and is broken."""
    where = field
    try:
        if _holds(rule, bindings, budget):
            return
        where = _at(field, node, rule)
        yield where, _message(rule, bindings, budget) or rule.failure, True
    except _FailedError as failure:
        yield where, str(failure), False


def _holds(rule: _Compiled, bindings: Mapping[str, Any], budget: Budget) -> bool:
    try:
        result = rule.program.run(bindings, budget=CALL_COST_MAX)
    except (cel.CelCostError, cel.CelEvaluationError) as error:
        budget.spend(error.spent)
        if budget.left < 0:
            raise _FailedError(OUT_OF_BUDGET) from error
        if isinstance(error, cel.CelCostError):
            budget.left = -1
            raise _FailedError(f"'{error}': {_TOO_DEAR}: {rule.text}") from error
        if str(error).startswith("no such overload"):
            raise _FailedError(f"'{error}': {_NO_OVERLOAD}: {rule.text}") from error
        raise _FailedError(f"{error} evaluating rule: {rule.text}") from error
    budget.spend(result.cost)
    if budget.left < 0:
        raise _FailedError(OUT_OF_BUDGET)
    return result.value is True


def _message(rule: _Compiled, bindings: Mapping[str, Any], budget: Budget) -> str:
    """Return what a messageExpression gives, "" where that is no message."""
    if rule.message is None:
        return ""
    try:
        result = rule.message.run(bindings, budget=CALL_COST_MAX)
    except cel.CelCostError as error:
        budget.left = -1
        shown = quote(rule.rule["messageExpression"])
        raise _FailedError(f"{_MESSAGE_TOO_DEAR}: {shown}") from error
    except cel.CelEvaluationError as error:
        budget.spend(error.spent)
        return ""
    budget.spend(result.cost)
    if budget.left < 0:
        raise _FailedError(_MESSAGE_OUT_OF_BUDGET)
    text = result.value.strip() if isinstance(result.value, str) else ""
    too_long = len(text.encode()) > MESSAGE_BYTES_MAX
    return "" if too_long or "\n" in text or "\r" in text else text


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


def _at(field: Field, node: Obj, rule: _Compiled) -> Field:
    """Return the field that a rule points to, below the one where it stands."""
    for name in steps_of(rule.rule.get("fieldPath") or "") or ():
        inner = (node.get("properties") or {}).get(name)
        field = field / name if inner is not None else field[name]
        node = inner or node.get("additionalProperties") or {}
    return field


def _children(
    node: Obj, value: Any, old: Any, field: Field
) -> Iterator[tuple[Obj, Any, Any, Field]]:
    """Yield the schemas, values and pasts of what is inside."""
    if isinstance(value, Mapping):
        atomic = node.get("x-kubernetes-map-type") == "atomic"
        before = old if isinstance(old, Mapping) and not atomic else {}
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


def rules_in(node: Obj) -> Iterator[Obj]:
    """Yield every rule of a schema."""
    yield from node.get(RULES) or ()
    for inner in (node.get("properties") or {}).values():
        yield from rules_in(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield from rules_in(node[key])


def _try_compile(rule: Obj, own: Type) -> _Compiled | None:
    """Compile a stored rule; one that is not understood was stored before it was checked."""
    known = variables(own, rule)
    try:
        program = cel.compile(rule["rule"], known)
        given = rule.get("messageExpression")
        message = cel.compile(given, known) if given else None
    except cel.CelError:
        return None
    return _Compiled(program, message, "oldSelf" in program.used, rule)
