"""Fields that hold a number or a percentage, such as maxSurge and target ports."""

import re
from collections.abc import Iterable

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError

IntOrString = int | str

_PERCENT = re.compile(r"[0-9]+%", re.ASCII)
PERCENT_ERROR = "invalid value for IntOrString: invalid type: string is not a percentage"


def is_percent(value: object) -> bool:
    """Tell whether the value is text like `25%`."""
    return isinstance(value, str) and _PERCENT.fullmatch(value) is not None


def scaled(value: IntOrString, total: int, *, round_up: bool) -> int:
    """Return the number, or the percentage of `total`, rounded as asked.

    Raises:
        ValueError: the value is text and no percentage.

    """
    if isinstance(value, int):
        return value
    if not is_percent(value):
        raise ValueError(PERCENT_ERROR)
    product = int(value[:-1]) * total
    return -(-product // 100) if round_up else product // 100


def percent_of(value: IntOrString) -> int | None:
    """Return the number before the `%`, or None where the value is no percentage."""
    return int(str(value)[:-1]) if is_percent(value) else None


def number_of(value: IntOrString) -> int:
    """Return the integer of a field, 0 where it is text (upstream's `IntValue` reads `5` too)."""
    if isinstance(value, int):
        return value
    return int(value) if re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII) else 0


def validate_positive(value: IntOrString, field: Field) -> Iterable[FieldError]:
    """Report a negative number or text that is no percentage."""
    if isinstance(value, str):
        for text in names.percent(value):
            yield field.invalid(value, text)
    elif value < 0:
        yield field.invalid(value, "must be greater than or equal to 0")


def validate_percent_max(value: IntOrString, field: Field) -> Iterable[FieldError]:
    """Report a percentage over 100."""
    percent = percent_of(value)
    if percent is not None and percent > 100:
        yield field.invalid(value, "must not be greater than 100%")
