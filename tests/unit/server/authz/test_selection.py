"""Selectors in authorisation: what is understood narrows, what is not is left out and said."""

from typing import Any

import pytest

from minikube_py.api.authorization.selector_rules import validate_selectors
from minikube_py.api.core import PODS
from minikube_py.api.fields import Field
from minikube_py.server.apiserver.call import Call
from minikube_py.server.attributes import Attributes, User
from minikube_py.server.authz.selection import fields_of, labels_of, selection_of, written
from minikube_py.server.authz.webhook import spec_of

ANN = User("ann")
IGNORED = "spec.resourceAttributes.{}elector ignored due to parse error"


def told(wanted: dict[str, Any]) -> list[str]:
    return [str(error) for error in validate_selectors(wanted, Field("spec.resourceAttributes"))]


@pytest.mark.parametrize("which", ["fieldSelector", "labelSelector"])
def test_a_selector_is_raw_or_requirements(which: str) -> None:
    path = f"spec.resourceAttributes.{which}"
    both = {which: {"rawSelector": "foo", "requirements": [{"key": "k", "operator": "Exists"}]}}
    (text,) = told(both)
    assert text == (
        f'{path}.rawSelector: Invalid value: "foo": may not specified at the same time as '
        "requirements"
    )
    (text,) = told({which: {}})
    assert text == (
        f"{path}.requirements: Required value: when {path} is specified, requirements or "
        "rawSelector is required"
    )
    assert told({which: {"rawSelector": "("}}) == []


@pytest.mark.parametrize("which", ["fieldSelector", "labelSelector"])
def test_values_are_as_the_operator_wants_them(which: str) -> None:
    path = f"spec.resourceAttributes.{which}.requirements[0]"

    def one(operator: str, *values: str) -> list[str]:
        requirement = {"key": "k", "operator": operator, "values": list(values)}
        return told({which: {"requirements": [requirement]}})

    for operator in ("In", "NotIn"):
        assert one(operator) == [
            f"{path}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        ]
    for operator in ("Exists", "DoesNotExist"):
        (text,) = one(operator, "v")
        assert text == (
            f"{path}.values: Forbidden: may not be specified when `operator` is 'Exists' or "
            "'DoesNotExist'"
        )
    assert one("OfTheFuture", "v") == []


def test_a_key_is_needed() -> None:
    (text,) = told({"fieldSelector": {"requirements": [{"key": ""}]}})
    assert text == (
        "spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be "
        "specified"
    )
    (first, *_) = told({"labelSelector": {"requirements": [{"key": ""}]}})
    assert first == (
        'spec.resourceAttributes.labelSelector.requirements[0].key: Invalid value: "": name part '
        "must be non-empty"
    )


def test_what_is_not_understood_is_left_out_and_said() -> None:
    node = {"key": "spec.nodeName", "operator": "In", "values": ["n1"]}
    several = {"key": "spec.x", "operator": "In", "values": ["a", "b"]}
    some = selection_of({"fieldSelector": {"requirements": [node, several]}})
    assert some.fields == fields_of("spec.nodeName=n1")
    assert some.problem == (
        "spec.resourceAttributes.fieldSelector partially ignored due to parse error"
    )
    none = selection_of(
        {"fieldSelector": {"rawSelector": "x"}, "labelSelector": {"rawSelector": "("}}
    )
    assert not none.fields
    assert not none.labels
    assert none.problem == "; ".join(IGNORED.format(which) for which in ("fieldS", "labelS"))
    assert selection_of({}) == (fields_of(""), labels_of(""), "")


def test_a_webhook_is_sent_requirements() -> None:
    attributes = Attributes(
        user=ANN,
        verb="list",
        resource="pods",
        field_selector=fields_of("spec.nodeName=n1,status.phase!=Failed"),
        label_selector=labels_of("app=web,tier in (a,b),!legacy,n>3"),
    )
    sent = spec_of(attributes, "v1")["resourceAttributes"]
    assert sent["fieldSelector"] == {
        "requirements": [
            {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
            {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
        ]
    }
    assert sent["labelSelector"] == {
        "requirements": [
            {"key": "app", "operator": "In", "values": ["web"]},
            {"key": "legacy", "operator": "DoesNotExist"},
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
        ]
    }
    assert written(Attributes(user=ANN, verb="list")) == {}
    assert selection_of(sent).fields == attributes.field_selector


@pytest.mark.parametrize(
    ("verb", "selector", "name"),
    [
        ("list", "metadata.name=a", "a"),
        ("watch", "metadata.name==a,spec.nodeName=n", "a"),
        ("list", "metadata.name!=a", ""),
        ("list", "metadata.name=..", ""),
        ("list", "metadata.name", ""),
        ("deletecollection", "metadata.name=a", ""),
    ],
)
def test_a_list_of_one_name_is_a_read_of_that_object(verb: str, selector: str, name: str) -> None:
    call = Call(user=ANN, resource=PODS, verb=verb, field_selector=selector)
    assert call.attributes.name == name
