"""Which objects a request or a controller means, by their labels.

A selector is a tuple of requirements that must all hold. The grammar, the printed form and the
errors are those of apimachinery's `labels` package. Field selectors are in `field_selectors`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.lib.memo import remembered

Operator = Literal["in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!"]
OPERATORS = "in, notin, =, ==, !=, gt, lt"
_SYMBOLS: Mapping[str, Operator] = {
    "in": "in",
    "notin": "notin",
    "=": "=",
    "==": "==",
    "!=": "!=",
    ">": "gt",
    "<": "lt",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    """Sorted, without duplicates."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet the condition."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        """Compare as integers; what is none never matches."""
        if not _INTEGER.fullmatch(value):
            return False
        left, right = int(value), int(self.values[0])
        return left > right if self.operator == "gt" else left < right

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions on labels, sorted by key; without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Matches no labels at all: what an absent selector object means."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet all conditions."""
        for requirement in self.requirements:
            if not requirement.matches(labels):
                return False
        return not self.nothing

    def __bool__(self) -> bool:
        """False for the selector that matches everything."""
        return self.nothing or bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


@remembered(1024)
def parse(text: str) -> LabelSelector:
    """Parse the text form, such as `app=web,tier in (a,b),!legacy`.

    Raises:
        ValueError: with upstream's text.

    """
    requirements = _Parser(text).parse() if text else []
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^ \t\r\n=!(),<>\0]+)|(\0|\Z))")


def _tokens(text: str) -> Iterator[str]:
    """Yield the words and symbols of a selector, then "" for the end.

    Words come as they are; symbols come with a leading NUL, so that the two cannot be mistaken.
    """
    for match in _TOKEN.finditer(text):
        symbol, word, _end = match.groups()
        if symbol is None:
            yield word or ""
            if not word:
                return
        else:
            yield f"\0{symbol}"


class _Parser:
    """Recursive descent over the tokens; one token of lookahead."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._position = 0

    def _peek(self) -> str:
        return self._tokens[min(self._position, len(self._tokens) - 1)]

    def _next(self) -> str:
        item = self._peek()
        self._position += 1
        return item

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while item := self._peek():
            if not _starts_requirement(item):
                raise ValueError(
                    f"found '{_shown(item)}', expected: !, identifier, or 'end of string'"
                )
            try:
                requirements.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            if not self._separator():
                break
        return requirements

    def _separator(self) -> bool:
        """Consume what stands after a requirement; tell whether another one must follow."""
        item = self._next()
        if not item:
            return False
        if item != "\0,":
            raise ValueError(f"found '{_shown(item)}', expected: ',' or 'end of string'")
        following = self._peek()
        if not _starts_requirement(following):
            raise ValueError(f"found '{_shown(following)}', expected: identifier after ','")
        return True

    def _requirement(self) -> Requirement:
        item = self._next()
        absent = item == "\0!"
        if absent:
            item = self._next()
        if not _is_word(item):
            raise ValueError(f"found '{_shown(item)}', expected: identifier")
        _check_key(item, "<nil>")
        if self._peek() in {"", "\0,"}:
            return requirement(item, "!" if absent else "exists", ())
        operator = self._operator()
        values = self._values() if operator in {"in", "notin"} else (self._value(),)
        return requirement(item, operator, values)

    def _operator(self) -> Operator:
        shown = _shown(self._next())
        operator = _SYMBOLS.get(shown)
        if operator is None:
            raise ValueError(f"found '{shown}', expected: {OPERATORS}")
        return operator

    def _value(self) -> str:
        item = self._peek()
        if item in {"", "\0,"}:
            return ""
        self._next()
        if not _is_word(item):
            raise ValueError(f"found '{_shown(item)}', expected: identifier")
        return item

    def _values(self) -> tuple[str, ...]:
        """Parse `(a,b)`; an empty place between commas is the empty value."""
        opening = self._next()
        if opening != "\0(":
            raise ValueError(f"found '{_shown(opening)}' expected: '('")
        if not _may_stand_in_list(self._peek()):
            raise ValueError(f"found '{_shown(self._peek())}', expected: ',', ')' or identifier")
        values: list[str] = []
        while True:
            value = self._peek()
            if not _may_stand_in_list(value):
                raise ValueError(f"found '{_shown(value)}', expected: ',', or identifier")
            values.append(self._next() if _is_word(value) else "")
            separator = self._next()
            if separator == "\0)":
                return tuple(values)
            if separator != "\0,":
                raise ValueError(f"found '{_shown(separator)}', expected: ',' or ')'")


def _is_word(item: str) -> bool:
    return bool(item) and not item.startswith("\0")


def _shown(item: str) -> str:
    return item.removeprefix("\0")


def _starts_requirement(item: str) -> bool:
    return _is_word(item) or item == "\0!"


def _may_stand_in_list(item: str) -> bool:
    return _is_word(item) or item in {"\0,", "\0)"}


def _check_key(key: str, field: str) -> None:
    errors = list(names.qualified_name(key))
    if errors:
        raise ValueError(str(Field(field).invalid(key, "; ".join(errors))))


def requirement(key: str, operator: Operator, values: Iterable[str]) -> Requirement:
    """Make a checked requirement; raises ValueError with upstream's text."""
    ordered = tuple(sorted(set(values)))
    errors = [str(error) for error in _requirement_errors(key, operator, ordered)]
    if errors:
        raise ValueError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return Requirement(key, operator, ordered)


def _requirement_errors(
    key: str, operator: Operator, values: Sequence[str]
) -> Iterator[FieldError]:
    key_errors = list(names.qualified_name(key))
    if key_errors:
        yield Field("key").invalid(key, "; ".join(key_errors))
    yield from _count_errors(operator, values)
    if operator in {"gt", "lt"}:
        for index, value in enumerate(values):
            if not _INTEGER.fullmatch(value):
                yield Field("values")[index].invalid(
                    value, "for 'Gt', 'Lt' operators, the value must be an integer"
                )
    for index, value in enumerate(values):
        errors = list(names.label_value(value))
        if errors:
            yield Field("values")[index][key].invalid(value, "; ".join(errors))


def _count_errors(operator: Operator, values: Sequence[str]) -> Iterator[FieldError]:
    field = Field("values")
    if operator in {"in", "notin"} and not values:
        yield field.invalid([], "for 'in', 'notin' operators, values set can't be empty")
    if operator in {"exists", "!"} and values:
        yield field.invalid(list(values), "values set must be empty for exists and does not exist")


_OBJECT_OPERATORS: Mapping[str, Operator] = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}


def from_object(selector: Obj | None) -> LabelSelector:
    """Return the selector of a LabelSelector document; absent matches nothing, empty everything.

    The document has been validated: an operator that is not known raises ValueError.
    """
    if selector is None:
        return NOTHING
    requirements = list(_equalities(selector.get("matchLabels") or {}))
    for expression in selector.get("matchExpressions") or ():
        given = expression.get("operator", "")
        operator = _OBJECT_OPERATORS.get(given)
        if operator is None:
            raise ValueError(f'"{given}" is not a valid label selector operator')
        values = tuple(sorted(set(expression.get("values") or ())))
        requirements.append(Requirement(expression.get("key", ""), operator, values))
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def compiled(selector: Obj | None) -> LabelSelector:
    """Return the selector of a document that need not be valid.

    Raises:
        ValueError: a key, an operator or a value of it can match no labels.

    """
    made = from_object(selector)
    for one in made.requirements:
        requirement(one.key, one.operator, one.values)
    return made


def from_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """Return the selector for exactly these labels (a Service's or ReplicationController's)."""
    return LabelSelector(tuple(_equalities(dict(sorted((labels or {}).items())))))


def _equalities(labels: Mapping[str, str]) -> Iterator[Requirement]:
    for key, value in labels.items():
        yield Requirement(key, "=", (value,))


def format_object(selector: Obj | None) -> str:
    """Return a LabelSelector document as `kubectl get -o wide` shows it: `<none>` where empty."""
    return str(from_object(selector)) or "<none>"


def shown(selector: Obj | None) -> Obj | None:
    """Return a LabelSelector document with its keys in the order in which error texts show them."""
    if selector is None:
        return None
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    ordered: dict[str, Any] = {}
    if labels:
        ordered["matchLabels"] = dict(sorted(labels.items()))
    if expressions:
        ordered["matchExpressions"] = [
            {key: one[key] for key in ("key", "operator", "values") if one.get(key)}
            for one in expressions
        ]
    return ordered


def validate(
    selector: Obj | None, field: Field, *, check_values: bool = True
) -> Iterator[FieldError]:
    """Report what is wrong with a LabelSelector document.

    `check_values` is off where upstream still allows values that no label can have, in kinds
    that were stored before the check.
    """
    if selector is None:
        return
    for key, value in sorted((selector.get("matchLabels") or {}).items()):
        path = field / "matchLabels"
        yield from (path.invalid(key, text) for text in names.qualified_name(key))
        yield from (path.invalid(value, text) for text in names.label_value(value))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        path = (field / "matchExpressions")[index]
        yield from expression_errors(expression, path, check_values=check_values)


def expression_errors(expression: Obj, field: Field, *, check_values: bool) -> Iterator[FieldError]:
    """Report what is wrong with one requirement of a LabelSelector document."""
    operator, values = expression.get("operator", ""), expression.get("values") or ()
    if operator in {"In", "NotIn"}:
        if not values:
            yield (field / "values").required(
                "must be specified when `operator` is 'In' or 'NotIn'"
            )
    elif operator in {"Exists", "DoesNotExist"}:
        if values:
            yield (field / "values").forbidden(
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
    else:
        yield (field / "operator").invalid(operator, "not a valid selector operator")
    key = expression.get("key", "")
    yield from ((field / "key").invalid(key, text) for text in names.qualified_name(key))
    if check_values:
        for index, value in enumerate(values):
            path = (field / "values")[index]
            yield from (path.invalid(value, text) for text in names.label_value(value))
