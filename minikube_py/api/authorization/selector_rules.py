"""What the selectors in a review of authorisation may say.

The rules are those of upstream's `pkg/apis/authorization/validation`.
"""

from collections.abc import Iterator

from minikube_py.api import selectors
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def validate_selectors(wanted: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the selectors in `resourceAttributes` of a review.

    An operator that is not known passes: newer clients may have it.
    """
    if (selector := wanted.get("fieldSelector")) is not None:
        yield from _form_errors(selector, field / "fieldSelector")
        for index, one in enumerate(selector.get("requirements") or ()):
            path = (field / "fieldSelector" / "requirements")[index]
            if not one.get("key"):
                yield (path / "key").required("must be specified")
            yield from _value_errors(one, path)
    if (selector := wanted.get("labelSelector")) is not None:
        yield from _form_errors(selector, field / "labelSelector")
        for index, one in enumerate(selector.get("requirements") or ()):
            path = (field / "labelSelector" / "requirements")[index]
            yield from _label_errors(one, path)


def _form_errors(selector: Obj, field: Field) -> Iterator[FieldError]:
    raw, requirements = selector.get("rawSelector", ""), selector.get("requirements")
    if raw and requirements:
        yield (field / "rawSelector").invalid(
            raw, "may not specified at the same time as requirements"
        )
    if not raw and not requirements:
        yield (field / "requirements").required(
            f"when {field} is specified, requirements or rawSelector is required"
        )


def _value_errors(requirement: Obj, field: Field) -> Iterator[FieldError]:
    operator, values = requirement.get("operator"), requirement.get("values")
    if operator in ("In", "NotIn") and not values:
        yield (field / "values").required("must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield (field / "values").forbidden(
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        )


def _label_errors(requirement: Obj, field: Field) -> Iterator[FieldError]:
    known = requirement.get("operator") in _OPERATORS
    checked = requirement if known else {**requirement, "operator": "Exists", "values": []}
    yield from selectors.expression_errors(checked, field, check_values=True)
