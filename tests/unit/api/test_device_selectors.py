"""Selectors of devices: what they may say, what they cost and what they select."""

from typing import Any

import pytest

from minikube_py.api.cel import CelEvaluationError
from minikube_py.api.object import Obj
from minikube_py.api.resource_k8s import DEVICECLASSES
from minikube_py.api.resource_k8s.device_selectors import (
    COST_MAX,
    DeviceSelectorError,
    compiled,
    device_value,
)
from tests.frozen import freeze

DEVICE: Obj = {
    "name": "gpu-0",
    "attributes": {
        "model": {"string": "big"},
        "other.example.com/numa": {"int": 1},
        "healthy": {"bool": True},
        "version": {"version": "1.2.3-beta"},
    },
    "capacity": {"memory": {"value": "64Gi"}},
}
MINE = 'device.attributes["dra.example.com"]'


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('device.driver == "dra.example.com"', True),
        (f'{MINE}.model == "big"', True),
        (f'{MINE}["model"] == "small"', False),
        (f"{MINE}.healthy", True),
        ('device.attributes["other.example.com"].numa == 1', True),
        (f'{MINE}.version.isLessThan(semver("1.2.3"))', True),
        ('device.capacity["dra.example.com"].memory.compareTo(quantity("32Gi")) > 0', True),
        ('cel.bind(dra, device.attributes["dra.example.com"], dra.healthy && dra.model == "big")',
         True),
        ('"model" in device.attributes["dra.example.com"]', True),
        ('"model" in device.attributes["nobody.example.com"]', False),
        ('has(device.attributes["nobody.example.com"].model)', False),
        ('"nobody.example.com" in device.attributes', False),
        ("device.allowMultipleAllocations", False),
        ("device.attributes.all(domain, domain.endsWith('example.com'))", True),
    ],
)  # fmt: skip
def test_a_selector_sees_the_device(expression: str, expected: bool) -> None:  # noqa: FBT001
    assert compiled(expression).matches(device_value(DEVICE, "dra.example.com")) is expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (f"{MINE}.none", "no such key: none"),
        (f"{MINE}.model", "CEL result of type string could not be converted to bool"),
    ],
)
def test_what_cannot_be_told_of_a_device_is_an_error(expression: str, message: str) -> None:
    with pytest.raises(CelEvaluationError, match=message):
        compiled(expression).matches(device_value(DEVICE, "dra.example.com"))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("device.driver", "must evaluate to bool or the unknown type, not string"),
        ("what", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'what'"),
        ("device.nosuch", "compilation failed: ERROR: <input>:1:7: undefined field 'nosuch'"),
        ("device.driver == 1", "compilation failed: ERROR: .* found no matching overload"),
    ],
)  # fmt: skip
def test_an_expression_about_no_device_does_not_compile(expression: str, message: str) -> None:
    with pytest.raises(DeviceSelectorError, match=message):
        compiled(expression)


def device_class(expression: str) -> Obj:
    spec: dict[str, Any] = {"selectors": [{"cel": {"expression": expression}}]}
    return freeze(DEVICECLASSES.default(freeze({"metadata": {"name": "c"}, "spec": spec})))


def test_a_class_is_refused_with_what_is_wrong_with_its_selector() -> None:
    (error,) = DEVICECLASSES.validate(device_class("device.driver"), None)
    assert error.field == "spec.selectors[0].cel.expression"
    assert str(error).endswith(
        'Invalid value: "device.driver": must evaluate to bool or the unknown type, not string'
    )


def test_a_class_whose_selector_may_cost_too_much_is_refused() -> None:
    nested = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, {})))"
    costly = nested.format("device.attributes.all(d, a + b == c + d)")
    assert compiled(costly).cost > COST_MAX
    (error,) = DEVICECLASSES.validate(device_class(costly), None)
    assert str(error) == (
        "spec.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit"
    )
    assert not list(DEVICECLASSES.validate(device_class(nested.format("true")), None))
