"""Which objects a request is limited to, as authorisers see it.

Selectors only narrow, so a condition that nobody understands is left out: what is decided is then
decided about more objects than are asked for. The rules are those of upstream's
`pkg/registry/authorization/util`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.api import field_selectors, selectors
from minikube_py.api.field_selectors import FieldSelector, FieldTerm
from minikube_py.api.object import Obj
from minikube_py.api.selectors import LabelSelector, Requirement
from minikube_py.server.attributes import Attributes

_LABEL_OPERATORS: Mapping[str, selectors.Operator] = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
}
_WRITTEN: Mapping[str, str] = {
    "=": "In",
    "==": "In",
    "in": "In",
    "!=": "NotIn",
    "notin": "NotIn",
    "exists": "Exists",
    "!": "DoesNotExist",
}


class Selection(NamedTuple):
    """What the attributes of a review select, and what of it was not understood."""

    fields: FieldSelector
    labels: LabelSelector
    problem: str
    """The evaluation error, or ""."""


def fields_of(text: str) -> FieldSelector:
    """Return the conditions of a field selector, none where it cannot be read."""
    if not text:
        return field_selectors.EVERYTHING
    try:
        return field_selectors.parse(text)
    except ValueError:
        return field_selectors.EVERYTHING


def labels_of(text: str) -> LabelSelector:
    """Return the conditions of a label selector, none where it cannot be read."""
    if not text:
        return selectors.EVERYTHING
    try:
        return selectors.parse(text)
    except ValueError:
        return selectors.EVERYTHING


def selection_of(wanted: Obj) -> Selection:
    """Return what `resourceAttributes` of a review select."""
    fields, fields_wrong = _fields(wanted.get("fieldSelector") or {})
    labels, labels_wrong = _labels(wanted.get("labelSelector") or {})
    problems = (
        *_problem("fieldSelector", some=bool(fields), wrong=fields_wrong),
        *_problem("labelSelector", some=bool(labels), wrong=labels_wrong),
    )
    return Selection(fields, labels, "; ".join(problems))


def _problem(which: str, *, some: bool, wrong: bool) -> Iterator[str]:
    if wrong:
        partially = "partially " if some else ""
        yield f"spec.resourceAttributes.{which} {partially}ignored due to parse error"


def _fields(selector: Obj) -> tuple[FieldSelector, bool]:
    """Return the conditions on fields, and whether there are others that nobody understands."""
    requirements = selector.get("requirements") or ()
    if not requirements:
        try:
            return field_selectors.parse(selector.get("rawSelector", "")), False
        except ValueError:
            return field_selectors.EVERYTHING, True
    terms = [term for one in requirements if (term := _field_term(one)) is not None]
    return FieldSelector(tuple(terms)), len(terms) < len(requirements)


def _field_term(requirement: Obj) -> FieldTerm | None:
    operator: str = requirement.get("operator", "")
    values: Sequence[str] = requirement.get("values") or ()
    if operator not in ("In", "NotIn") or len(values) != 1:
        return None
    return FieldTerm(requirement.get("key", ""), values[0], operator == "In")


def _labels(selector: Obj) -> tuple[LabelSelector, bool]:
    requirements = selector.get("requirements") or ()
    if not requirements:
        try:
            return selectors.parse(selector.get("rawSelector", "")), False
        except ValueError:
            return selectors.EVERYTHING, True
    known = [made for one in requirements if (made := _requirement(one)) is not None]
    return LabelSelector(tuple(known)), len(known) < len(requirements)


def _requirement(requirement: Obj) -> Requirement | None:
    operator = _LABEL_OPERATORS.get(requirement.get("operator", ""))
    if operator is None:
        return None
    try:
        values = requirement.get("values") or ()
        return selectors.requirement(requirement.get("key", ""), operator, values)
    except ValueError:
        return None


def written(attributes: Attributes) -> dict[str, Any]:
    """Return the selectors of a request as a SubjectAccessReview has them: by requirements."""
    found: dict[str, Any] = {}
    if attributes.field_selector:
        found["fieldSelector"] = {
            "requirements": [
                {"key": t.field, "operator": "In" if t.equal else "NotIn", "values": [t.value]}
                for t in attributes.field_selector.terms
            ]
        }
    labels = [
        {
            "key": one.key,
            "operator": _WRITTEN[one.operator],
            **({"values": list(one.values)} if one.values else {}),
        }
        for one in attributes.label_selector.requirements
        if one.operator in _WRITTEN
    ]
    if labels:
        found["labelSelector"] = {"requirements": labels}
    return found
