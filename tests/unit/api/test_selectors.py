from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import field_selectors, selectors
from minikube_py.api.fields import Field

KEYS = st.from_regex(r"[a-z][a-z0-9]{0,4}(\.[a-z]{1,3}/[A-Za-z0-9]{1,4})?", fullmatch=True).filter(
    lambda key: key not in {"in", "notin"}
)
VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,5}[A-Za-z0-9])?)?", fullmatch=True)
REQUIREMENTS = st.one_of(
    st.builds(
        selectors.requirement,
        KEYS,
        st.sampled_from(["in", "notin"]),
        st.lists(VALUES, min_size=1, max_size=4),
    ),
    st.builds(
        lambda k, o, v: selectors.requirement(k, o, [v]),
        KEYS,
        st.sampled_from(["=", "==", "!="]),
        VALUES,
    ),
    st.builds(
        lambda k, o, v: selectors.requirement(k, o, [str(v)]),
        KEYS,
        st.sampled_from(["gt", "lt"]),
        st.integers(0, 1000),
    ),
    st.builds(lambda k, o: selectors.requirement(k, o, []), KEYS, st.sampled_from(["exists", "!"])),
)
LABELS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(st.lists(REQUIREMENTS, max_size=4))
def test_parsing_what_was_printed_gives_the_same_selector(
    requirements: list[selectors.Requirement],
) -> None:
    ordered = tuple(sorted(requirements, key=lambda r: r.key))
    selector = selectors.LabelSelector(ordered)
    assert selectors.parse(str(selector)) == selector


@given(LABELS, KEYS, VALUES)
def test_an_operator_and_its_contrary_never_agree(
    labels: dict[str, str], key: str, value: str
) -> None:
    for positive, negative in (("=", "!="), ("in", "notin")):
        one = selectors.Requirement(key, positive, (value,))  # type: ignore[arg-type]
        other = selectors.Requirement(key, negative, (value,))  # type: ignore[arg-type]
        assert one.matches(labels) != other.matches(labels)


@given(LABELS)
def test_the_selector_of_labels_matches_them_and_more(labels: dict[str, str]) -> None:
    selector = selectors.from_labels(labels)
    assert selector.matches({**labels, "zzzzzzzzzz": "1"})
    assert selectors.parse(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("env", {"env": ""}, True),
        ("env", {}, False),
        ("!env", {}, True),
        ("env in (a,,b)", {"env": ""}, True),
        ("env in ()", {"env": ""}, True),
        ("in in (in,notin)", {"in": "notin"}, True),
        ("env notin (a)", {}, True),
        ("n>5", {"n": "6"}, True),
        ("n>5", {"n": "x"}, False),
        ("n<5", {"n": "6"}, False),
        (" env = prod ", {"env": "prod"}, True),
        ("env=prod,env=dev", {"env": "prod"}, False),
        ("env=", {"env": ""}, True),
    ],
)
def test_a_selector_matches_as_upstream_does(
    text: str, labels: dict[str, str], *, matches: bool
) -> None:
    assert selectors.parse(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env gt 1", "unable to parse requirement: found 'gt', expected: " + selectors.OPERATORS),
        ("env in prod", "unable to parse requirement: found 'prod' expected: '('"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("env=bad value!", "found 'value', expected: ',' or 'end of string'"),
        ("env=prod,,tier=web", "found ',', expected: identifier after ','"),
        ("env=prod,", "found '', expected: identifier after ','"),
        ("(env)", "found '(', expected: !, identifier, or 'end of string'"),
        ("env in (prod", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("env in (prod,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("env in !", "unable to parse requirement: found '!' expected: '('"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (
            "x" * 64 + "=1",
            (
                f'unable to parse requirement: <nil>: Invalid value: "{"x" * 64}": '
                "name part must be no more than 63 bytes"
            ),
        ),
        (
            "env=" + "y" * 64,
            (
                f'unable to parse requirement: values[0][env]: Invalid value: "{"y" * 64}": '
                "must be no more than 63 bytes"
            ),
        ),
        (
            "env>x",
            (
                'unable to parse requirement: values[0]: Invalid value: "x": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            ),
        ),
    ],
)
def test_errors_are_upstreams(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"expected|Invalid") as caught:
        selectors.parse(text)
    assert str(caught.value) == message


def test_an_absent_selector_matches_nothing_and_an_empty_one_everything() -> None:
    assert not selectors.from_object(None).matches({})
    assert selectors.from_object({}).matches({"a": "b"})
    assert selectors.format_object({}) == "<none>"


def test_a_selector_document_prints_like_upstream() -> None:
    document = {
        "matchLabels": {"b": "2"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]},
            {"key": "c", "operator": "DoesNotExist"},
        ],
    }
    assert selectors.format_object(document) == "a in (x,y),b=2,!c"
    assert selectors.from_object(document).matches({"a": "x", "b": "2"})


@pytest.mark.parametrize(
    ("selector", "messages"),
    [
        (
            {"matchExpressions": [{"key": "a", "operator": "In"}]},
            [
                (
                    "s.matchExpressions[0].values: Required value: "
                    "must be specified when `operator` is 'In' or 'NotIn'"
                )
            ],
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            [
                (
                    "s.matchExpressions[0].values: Forbidden: "
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
            ],
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "X"}]},
            ['s.matchExpressions[0].operator: Invalid value: "X": not a valid selector operator'],
        ),
        ({"matchLabels": {"a": "b"}}, []),
    ],
)
def test_a_wrong_selector_document_is_told_in_upstreams_words(
    selector: dict[str, Any], messages: list[str]
) -> None:
    assert [str(error) for error in selectors.validate(selector, Field("s"))] == messages


@given(st.dictionaries(KEYS, st.text(max_size=8), max_size=3))
def test_field_selectors_survive_printing(fields: dict[str, str]) -> None:
    terms = tuple(
        sorted(
            (field_selectors.FieldTerm(key, value) for key, value in fields.items()),
            key=str,
        )
    )
    selector = field_selectors.FieldSelector(terms)
    assert field_selectors.parse(str(selector)) == selector
    assert selector.matches(fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.x=1", "field label not supported: spec.x"),
        ("oops", "invalid selector: 'oops'; can't understand 'oops'"),
        ("metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b"),
        ("metadata.name=a=b", "invalid field selector: unescaped character in value: ="),
    ],
)
def test_a_wrong_field_selector_is_told_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"field|selector") as caught:
        field_selectors.parse(text, lambda field: field == "metadata.name")
    assert str(caught.value) == message


def test_a_field_selector_knows_the_value_it_asks_for() -> None:
    selector = field_selectors.parse("spec.nodeName==n1,status.phase!=Failed")
    assert selector.exact("spec.nodeName") == "n1"
    assert selector.exact("status.phase") is None
    assert selector.matches({"spec.nodeName": "n1", "status.phase": "Running"})
    assert not selector.matches({"spec.nodeName": "n1", "status.phase": "Failed"})


@pytest.mark.parametrize("expression", [{}, {"key": "a"}, {"operator": "In", "values": ["a"]}])
def test_an_expression_that_lacks_a_part_is_no_selector(expression):
    with pytest.raises(ValueError, match=r".+"):
        selectors.compiled({"matchExpressions": [expression]})
