"""Values as Go prints them (`%v`, `%T`), because upstream's messages hold such texts."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def go_text(value: Any) -> str:
    """Return a JSON value as `fmt.Sprint` shows it: `map[a:1 b:[x y]]`."""
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(go_text, value))}]"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


_NAMES = {
    dict: "map[string]interface {}",
    list: "[]interface {}",
    str: "string",
    int: "int64",
    float: "float64",
    bool: "bool",
    type(None): "%!s(<nil>)",
}


def go_name(value: Any) -> str:
    """Return the Go type that a JSON value is decoded to."""
    name = _NAMES.get(type(value))
    if name is None:  # a frozen or weakly referable variety of the two containers
        name = _NAMES[dict if isinstance(value, Mapping) else list]
    return name


def _float(value: float) -> str:
    """Print as strconv's shortest `g`: with an exponent where it is below -4 or above 5."""
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted() if value else 0
    if -4 <= exponent < 6:
        return f"{number:f}"
    digits = "".join(map(str, number.as_tuple().digits))
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    sign = "-" if number < 0 else ""
    return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
