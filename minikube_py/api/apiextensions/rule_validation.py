"""What the rules in a schema (x-kubernetes-validations) must be when a definition is written.

Each must compile against what the schema declares, and what it may cost at worst is bounded: one
rule alone, times how often its place can occur in an object, and all rules together. The rules,
limits and texts are those of apiextensions-apiserver's `apis/apiextensions/validation`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from minikube_py.api import cel
from minikube_py.api.apiextensions.declarations import Declaration, DeclaredSizes, declaration_of
from minikube_py.api.cel import types
from minikube_py.api.cel.ranges import MOST
from minikube_py.api.cel.types import Type
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

RULES: Final = "x-kubernetes-validations"
RULE_COST_MAX: Final = 10_000_000
"""Upstream's StaticEstimatedCostLimit."""
SCHEMA_COST_MAX: Final = 100_000_000
"""Upstream's StaticEstimatedCRDCostLimit."""
SHOWN_MAX: Final = 4
"""Rules that are named where all together cost too much."""
REASONS: Final = frozenset(
    {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"}
)
_LINE_BREAKS: Final = re.compile(r"[\n\r]")
_STEP: Final = re.compile(r"\.([A-Za-z_][\w-]*)|\['((?:[^'\\]|\\.)+)'\]|\[\"([^\"]+)\"\]")


@dataclass
class _Total:
    """What all rules of a schema may cost together."""

    units: int = 0
    dear: list[tuple[int, Field]] = field(default_factory=list)

    def add(self, where: Field, units: int) -> None:
        self.units = min(self.units + units, MOST)
        if units >= SCHEMA_COST_MAX // 100:
            self.dear.append((units, where))

    def errors(self, root: Field) -> Iterator[FieldError]:
        if self.units <= SCHEMA_COST_MAX:
            return
        for _, where in sorted(self.dear, key=lambda pair: -pair[0])[:SHOWN_MAX]:
            yield where.forbidden(
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3"
                " schema"
            )
        name = f"{RULES} estimated rule cost total for entire OpenAPIv3 schema"
        yield root.forbidden(_over_budget(name, self.units, SCHEMA_COST_MAX))


@dataclass(frozen=True)
class _Place:
    """Where in a schema a node stands."""

    field: Field
    times: int | None = 1
    """How often such a value can occur at most; None: as often as it fits."""
    uncorrelatable: Field | None = None
    """The list or map around it whose parts have no past that is known to be theirs."""

    def below(self, node: Obj, where: Field) -> "_Place":
        """Return the place of a part of the node."""
        most = _most_parts(node)
        times = None
        if self.times is not None and most is not None:
            times = min(self.times * most, MOST)
        return replace(self, field=where, times=times)

    def without_past(self, *, when: bool) -> "_Place":
        """Return the place where parts of the node cannot be told from one another."""
        if not when or self.uncorrelatable is not None:
            return self
        return replace(self, uncorrelatable=self.field)


def _most_parts(node: Obj) -> int | None:
    """Return how many values of its inner schema a value has at most; None: any number."""
    limit: Any = 1
    if node.get("type") == "array":
        limit = node.get("maxItems")
    elif node.get("type") == "object" and node.get("additionalProperties"):
        limit = node.get("maxProperties")
    return None if limit is None else max(int(limit), 0)


@dataclass
class _Errors:
    """What is wrong: with the rules as parts of the schema, and with their expressions."""

    schema: list[FieldError] = field(default_factory=list)
    expressions: list[FieldError] = field(default_factory=list)


def validate_rules(
    root: Obj, where: Field, *, sound: bool = True, unchanged: bool = False
) -> Iterator[FieldError]:
    """Report what is wrong with the rules of a schema.

    Expressions are looked at where the schema is otherwise `sound`; in one that an update leaves
    as it was, single rules may cost what they cost before.
    """
    total, errors = _Total(), _Errors()
    checker = _Checker(total, sound=sound, unchanged=unchanged)
    checker.walk(root, _Place(where), errors, root=True)
    yield from errors.schema
    yield from errors.expressions
    yield from total.errors(where)


class _Checker:
    """Walks a schema, parts first."""

    def __init__(self, total: _Total, *, sound: bool, unchanged: bool) -> None:
        self._total = total
        self._sound = sound
        self._unchanged = unchanged

    def walk(self, node: Obj, place: _Place, errors: _Errors, *, root: bool = False) -> None:
        """Collect what is wrong with a node and all below it."""
        found = _Errors()
        for inner, below in _parts(node, place):
            self.walk(inner, below, found)
        for index, rule in enumerate(node.get(RULES) or ()):
            found.schema.extend(_validate_rule(rule, node, (place.field / RULES)[index]))
        if node.get(RULES) and self._sound and not found.schema:
            found.expressions.extend(self._expressions(node, place, root=root))
        errors.schema.extend(found.schema)
        errors.expressions.extend(found.expressions)

    def _expressions(self, node: Obj, place: _Place, *, root: bool) -> Iterator[FieldError]:
        declared = declaration_of(node, root=root)
        if declared is None:
            return
        times = declared.times_at_most if place.times is None else place.times
        for index, rule in enumerate(node[RULES]):
            where = (place.field / RULES)[index]
            yield from self._rule(rule, declared, times, where)
            yield from self._message(rule, declared, where)
            yield from _validate_past(rule, declared, place, where)

    def _rule(
        self, rule: Obj, declared: Declaration, times: int, where: Field
    ) -> Iterator[FieldError]:
        units, error = 0, ""
        try:
            program, units = cel.compile_and_estimate(
                rule["rule"], variables(declared.type, rule), DeclaredSizes(declared)
            )
            if program.type != types.BOOL:
                units, error = 0, "cel expression must evaluate to a bool"
        except cel.CelError as failure:
            error = f"compilation failed: {failure}"
        units = min(units * times, MOST)
        yield from self._cost("estimated rule cost", units, where / "rule")
        if error:
            yield (where / "rule").invalid(_shown(rule), error)

    def _message(self, rule: Obj, declared: Declaration, where: Field) -> Iterator[FieldError]:
        text = rule.get("messageExpression")
        if not text:
            return
        where = where / "messageExpression"
        try:
            program, units = cel.compile_and_estimate(
                text, variables(declared.type, rule), DeclaredSizes(declared)
            )
        except cel.CelError as failure:
            detail = f"messageExpression compilation failed: {failure}"
            yield where.invalid(_shown(rule), detail)
            return
        if program.type != types.STRING:
            yield where.invalid(_shown(rule), "messageExpression must evaluate to a string")
            return
        yield from self._cost("estimated messageExpression cost", units, where)

    def _cost(self, name: str, units: int, where: Field) -> Iterator[FieldError]:
        self._total.add(where, units)
        if units > RULE_COST_MAX and not self._unchanged:
            yield where.forbidden(_over_budget(name, units, RULE_COST_MAX))


def _over_budget(name: str, units: int, limit: int) -> str:
    factor = units / limit
    if factor > 100:
        shown = "more than 100x"
    else:
        shown = f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{name} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems,"
        " maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )


def variables(own: Type, rule: Obj) -> Mapping[str, Type]:
    """Return what a rule over values of a type sees."""
    past = types.optional_of(own) if rule.get("optionalOldSelf") else own
    return {"self": own, "oldSelf": past}


def _parts(node: Obj, place: _Place) -> Iterator[tuple[Obj, _Place]]:
    others, items = node.get("additionalProperties"), node.get("items")
    if isinstance(others, Mapping):
        yield others, place.below(node, place.field / "additionalProperties")
    atomic = node.get("x-kubernetes-map-type") == "atomic"
    inside = place.without_past(when=atomic)
    for name, inner in sorted((node.get("properties") or {}).items()):
        yield inner, inside.below(node, (place.field / "properties")[name])
    if isinstance(items, Mapping):
        no_map = node.get("x-kubernetes-list-type") != "map"
        yield items, place.without_past(when=no_map).below(node, place.field / "items")


# --- a rule as part of the schema -----------------------------------------------------------------


def _validate_rule(rule: Obj, node: Obj, field: Field) -> Iterator[FieldError]:
    text, message = rule.get("rule", ""), rule.get("message") or ""
    if not text.strip():
        yield (field / "rule").required("rule is not specified")
    else:
        yield from _validate_message(message, text, field / "message")
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        yield (field / "messageExpression").required("must be non-empty if specified")
    reason = rule.get("reason")
    if reason is not None and reason not in REASONS:
        yield (field / "reason").unsupported(reason, REASONS)
    path, where = rule.get("fieldPath") or "", field / "fieldPath"
    if path and not path.strip():
        yield where.invalid(path, "must be non-empty if specified")
    if _LINE_BREAKS.search(path):
        yield where.invalid(path, "must not contain line breaks")
    if path and not leads_somewhere(node, path):
        yield where.invalid(path, "must be a valid path")


def _validate_message(message: str, text: str, field: Field) -> Iterator[FieldError]:
    trimmed = message.strip()
    if message and not trimmed:
        yield field.invalid(message, "must be non-empty if specified")
    elif _LINE_BREAKS.search(trimmed):
        yield field.invalid(message, "must not contain line breaks")
    elif _LINE_BREAKS.search(text.strip()) and not trimmed:
        yield field.required("must be specified if rule contains line breaks")


def steps_of(path: str) -> list[str] | None:
    """Return the names that a fieldPath leads through; None where it is no path."""
    found, place = [], 0
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            return None
        dotted, single, double = match.groups()
        found.append(dotted or re.sub(r"\\(.)", r"\1", single or double))
        place = match.end()
    return found


def leads_somewhere(node: Obj, path: str) -> bool:
    """Tell whether a fieldPath names fields of the schema."""
    steps = steps_of(path)
    if not steps:
        return False
    place: Any = node
    for name in steps:
        inner = (place.get("properties") or {}).get(name)
        place = inner if inner is not None else place.get("additionalProperties")
        if not isinstance(place, Mapping):
            return False
    return True


def _validate_past(
    rule: Obj, declared: Declaration, place: _Place, field: Field
) -> Iterator[FieldError]:
    """Report a rule about changes where changes are not known, and one that says so in vain."""
    try:
        program = cel.compile(rule["rule"], variables(declared.type, rule))
    except cel.CelError:
        return
    if "oldSelf" in program.used:
        if place.uncorrelatable is not None:
            yield (field / "rule").invalid(
                rule["rule"],
                "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                f"{place.uncorrelatable}",
            )
    elif rule.get("optionalOldSelf") is not None:
        yield (field / "optionalOldSelf").invalid(
            rule["optionalOldSelf"], "may not be set if oldSelf is not used in rule"
        )


def _shown(rule: Obj) -> Obj:
    """Return a rule as upstream's errors show it."""
    return {
        "Rule": rule.get("rule", ""),
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
