"""What is said of rules when a definition is written."""

from typing import Any

import pytest

from minikube_py.api.apiextensions.rule_validation import validate_rules
from minikube_py.api.fields import Field
from tests.frozen import freeze

TEXT = {"type": "string"}
TAIL = (
    " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays,"
    " maps, and strings are declared)"
)


def errors(root: Any, **more: Any) -> list[str]:
    return [str(error) for error in validate_rules(freeze(root), Field("s"), **more)]


def ruled(node: Any, *rules: Any) -> Any:
    return {**node, "x-kubernetes-validations": list(rules)}


def tags(most: int | None, length: int | None) -> Any:
    item = {**TEXT, **({} if length is None else {"maxLength": length})}
    node = {"type": "array", "items": item, **({} if most is None else {"maxItems": most})}
    rule = {"rule": "self.all(x, x.contains('gpu'))"}
    return {"type": "object", "properties": {"tags": ruled(node, rule)}}


@pytest.mark.parametrize(
    ("length", "most"), [(16, 909_090), (63, 333_333), (253, 94_339), (1024, 24_154)]
)
def test_the_limit_of_a_rule_lies_where_upstream_has_it(length: int, most: int) -> None:
    assert errors(tags(most, length)) == []
    (error,) = errors(tags(most + 1, length))
    assert error.startswith(
        "s.properties[tags].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost "
        "exceeds budget by factor of 1.0000"
    )
    assert error.endswith("x" + TAIL)


def test_a_rule_without_bounds_is_named_three_times() -> None:
    rule, where = "s.properties[tags].x-kubernetes-validations[0].rule: Forbidden: ", "s: Forbidden"
    assert errors(tags(None, None)) == [
        f"{rule}estimated rule cost exceeds budget by factor of more than 100x{TAIL}",
        (
            f"{rule}contributed to estimated rule cost total exceeding cost limit for entire "
            "OpenAPIv3 schema"
        ),
        (
            f"{where}: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 "
            f"schema exceeds budget by factor of more than 100x{TAIL}"
        ),
    ]


def test_what_an_update_leaves_alone_may_cost_what_it_cost() -> None:
    assert errors(tags(909_091, 16), unchanged=True) == []


def test_a_rule_counts_as_often_as_its_place_occurs() -> None:
    item = ruled({"type": "string", "maxLength": 10}, {"rule": "self.contains('a')"})
    few = {"type": "array", "items": item, "maxItems": 1000}
    assert errors({"type": "object", "properties": {"few": few}}) == []
    many = {"type": "array", "items": few, "maxItems": 10_000}
    (error, *_) = errors({"type": "object", "properties": {"many": many}})
    assert "estimated rule cost exceeds budget by factor of 5.0x" in error


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"rule": " "}, "rule: Required value: rule is not specified"),
        ({"rule": "true", "message": " "}, 'message: Invalid value: " ": must be non-empty if'),
        ({"rule": "true", "message": "a\nb"}, 'message: Invalid value: "a\\nb": must not contain'),
        ({"rule": "true\n"}, ""),
        ({"rule": "true &&\ntrue"}, "message: Required value: "),
        ({"rule": "true", "reason": "X"}, 'reason: Unsupported value: "X": supported values: "F'),
        ({"rule": "true", "fieldPath": ".b"}, 'fieldPath: Invalid value: ".b": must be a valid'),
        ({"rule": "true", "fieldPath": ".a"}, ""),
        ({"rule": "true", "messageExpression": " "}, "messageExpression: Required value: must be"),
        (
            {"rule": "true", "messageExpression": "1"},
            (
                'messageExpression: Invalid value: {"Rule":"true","Message":"",'
                '"MessageExpression":"1","Reason":null,"FieldPath":"","OptionalOldSelf":null}: '
                "messageExpression must evaluate to a string"
            ),
        ),
        (
            {"rule": "true", "optionalOldSelf": True},
            "optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
        (
            {"rule": "self.a"},
            (
                'rule: Invalid value: {"Rule":"self.a","Message":"","MessageExpression":"",'
                '"Reason":null,"FieldPath":"","OptionalOldSelf":null}: '
                "cel expression must evaluate to a bool"
            ),
        ),
    ],
)
def test_a_rule_is_complete(rule: Any, text: str) -> None:
    found = errors(ruled({"type": "object", "properties": {"a": TEXT}}, rule))
    if not text:
        assert found == []
    else:
        assert [each.split("[0].")[1][: len(text)] for each in found] == [text]


def test_a_rule_about_changes_needs_a_past() -> None:
    item = ruled(TEXT, {"rule": "self == oldSelf"})
    node = {"type": "object", "properties": {"l": {"type": "array", "items": item, "maxItems": 2}}}
    assert errors(node) == [
        (
            "s.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "
            '"self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema '
            "within s.properties[l]"
        )
    ]


def test_expressions_of_an_unsound_schema_are_left_alone() -> None:
    assert errors(ruled({"type": "object"}, {"rule": "nonsense("}), sound=False) == []
