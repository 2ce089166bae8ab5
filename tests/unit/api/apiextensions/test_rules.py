"""Expressions in custom schemas."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.apiextensions.rule_validation import validate_rules
from minikube_py.api.apiextensions.rules import Checker
from minikube_py.api.fields import Field
from tests.frozen import freeze


def schema(*rules: Any, **properties: Any) -> Any:
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": list(rules)}
    return freeze({"type": "object", "properties": {"spec": spec}})


def broken(root: Any, spec: Any, old: Any = None) -> list[str]:
    before = None if old is None else freeze({"spec": old})
    return [str(error) for error in Checker(root).validate(freeze({"spec": spec}), before)]


NUMBERS = {"low": {"type": "integer"}, "high": {"type": "integer"}}
ORDER = {"rule": "self.low <= self.high", "message": "low must not be above high"}


def test_a_broken_rule_is_told_in_its_own_words() -> None:
    root = schema(ORDER, **NUMBERS)
    assert broken(root, {"low": 1, "high": 2}) == []
    assert broken(root, {"low": 3, "high": 2}) == [
        "spec: Invalid value: low must not be above high"
    ]


def test_a_rule_without_a_message_shows_itself() -> None:
    root = schema({"rule": "self.low > 0"}, **NUMBERS)
    assert broken(root, {"low": 0}) == ["spec: Invalid value: failed rule: self.low > 0"]


def test_a_message_may_be_an_expression() -> None:
    rule = {"rule": "self.low > 0", "messageExpression": "'low is ' + string(self.low)"}
    assert broken(schema(rule, **NUMBERS), {"low": -1}) == ["spec: Invalid value: low is -1"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("FieldValueForbidden", "spec.low: Forbidden: no"),
        ("FieldValueRequired", "spec.low: Required value: no"),
    ],
)
def test_a_rule_names_its_field_and_reason(reason: str, text: str) -> None:
    rule = {"rule": "false", "message": "no", "reason": reason, "fieldPath": ".low"}
    assert broken(schema(rule, **NUMBERS), {"low": 1}) == [text]


def test_a_rule_about_changes_is_asked_only_of_changes() -> None:
    fixed = {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    root = schema(name=fixed)
    assert broken(root, {"name": "a"}) == []
    assert broken(root, {"name": "a"}, {}) == []
    assert broken(root, {"name": "a"}, {"name": "a"}) == []
    assert broken(root, {"name": "b"}, {"name": "a"}) == [
        'spec.name: Invalid value: "b": failed rule: self == oldSelf'
    ]


def test_a_rule_may_ask_whether_there_was_something() -> None:
    rule = {"rule": "!oldSelf.hasValue() || self == oldSelf.value()", "optionalOldSelf": True}
    root = schema(name={"type": "string", "x-kubernetes-validations": [rule]})
    assert broken(root, {"name": "a"}) == []
    assert len(broken(root, {"name": "b"}, {"name": "a"})) == 1


def test_items_of_a_keyed_list_have_a_past() -> None:
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "shrunk"}],
    }
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    old = {"disks": [{"name": "a", "size": 2}, {"name": "b", "size": 2}]}
    new = {"disks": [{"name": "b", "size": 1}, {"name": "a", "size": 3}]}
    assert broken(schema(disks={"type": "array", "items": item, **keyed}), new, old) == [
        "spec.disks[0]: Invalid value: shrunk"
    ]
    assert broken(schema(disks={"type": "array", "items": item}), new, old) == []


def test_an_error_in_a_rule_is_told() -> None:
    (error,) = broken(schema({"rule": "1 / self.low == 1"}, **NUMBERS), {"low": 0})
    assert error.startswith('spec: Invalid value: "object": division by zero evaluating rule:')


def test_a_rule_that_costs_too_much_ends() -> None:
    rule = {"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"}
    many = {"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [rule]}
    (error,) = broken(schema(many=many), {"many": list(range(1000))})
    assert "call cost exceeds limit for rule" in error


def test_a_rule_that_is_no_expression_of_its_schema_is_refused() -> None:
    root = schema({"rule": "self.nope > 1"}, {"rule": "1 + 1"}, ORDER, **NUMBERS)
    first, second = (str(error) for error in validate_rules(root, Field("schema")))
    assert first.startswith("schema.properties[spec].x-kubernetes-validations[0].rule: Invalid")
    assert "undefined field 'nope'" in first
    assert "must evaluate to a bool" in second


@given(low=st.integers(-5, 5), high=st.integers(-5, 5))
def test_what_an_update_leaves_alone_is_not_judged_again(low: int, high: int) -> None:
    root = schema(ORDER, **NUMBERS)
    spec = {"low": low, "high": high}
    assert broken(root, spec, spec) == []
    assert bool(broken(root, spec)) == (low > high)


def test_all_rules_of_a_write_share_one_budget() -> None:
    dear = {"rule": "self.all(a, self.all(b, a + b >= 0))", "message": "m"}
    many = {"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [dear] * 30}
    root = schema(many=many)
    assert broken(root, {"many": list(range(200))}) == []
    assert broken(root, {"many": list(range(300))}) == [
        (
            'spec.many: Invalid value: "array": validation failed due to running out of cost '
            "budget, no further validation rules will be run"
        )
    ]


def test_sets_and_maps_are_equal_whatever_their_order() -> None:
    same = {"rule": "self == oldSelf", "message": "changed"}
    kinds = {
        "plain": {},
        "set": {"x-kubernetes-list-type": "set"},
        "map": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
    }
    items = {"type": "object", "properties": {"k": {"type": "string"}}}
    lists = {
        name: {
            "type": "array",
            "items": items if name == "map" else {"type": "string"},
            "x-kubernetes-validations": [same],
            **more,
        }
        for name, more in kinds.items()
    }
    old = {"plain": ["a", "b"], "set": ["a", "b"], "map": [{"k": "a"}, {"k": "b"}]}
    new = {name: value[::-1] for name, value in old.items()}
    assert broken(schema(**lists), new, old) == ["spec.plain: Invalid value: changed"]


def test_the_sum_of_two_sets_keeps_the_places_of_the_first() -> None:
    rule = {"rule": "self.s + ['b', 'c'] == ['a', 'b', 'c'] && (self.s + ['b'])[1] == 'b'"}
    root = schema(
        rule, s={"type": "array", "items": {"type": "string"}} | {"x-kubernetes-list-type": "set"}
    )
    assert broken(root, {"s": ["a", "b"]}) == []


def test_the_value_itself_may_be_a_time() -> None:
    rule = {"rule": "self < timestamp('2030-01-01T00:00:00Z')", "message": "too late"}
    root = schema(at={"type": "string", "format": "date-time", "x-kubernetes-validations": [rule]})
    assert broken(root, {"at": "2020-01-01T00:00:00Z"}) == []
    assert broken(root, {"at": "2040-01-01T00:00:00Z"}) == [
        'spec.at: Invalid value: "2040-01-01T00:00:00Z": too late'
    ]
