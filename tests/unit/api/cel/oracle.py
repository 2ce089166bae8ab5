"""Google's C++ engine as the oracle: what an expression gives, in plain words."""

import datetime as dt
import math
from typing import Any

from cel_expr_python import cel as google
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from minikube_py.api import cel
from minikube_py.api.cel import libraries, types
from minikube_py.api.cel.values import Duration, Optional, Timestamp

EXTENSIONS = (
    ext_math.ExtMath(),
    ext_optional.ExtOptional(),
    ext_strings.ExtStrings(),
    ext_bindings.ExtBindings(),
    ext_encoders.ExtEncoders(),
)
ENVIRONMENT = google.NewEnv(variables={"a": google.Type.DYN}, extensions=EXTENSIONS)
FAILED = "an error"


def theirs(expression: str, data: Any) -> Any:
    """Return the oracle's value; FAILED where the expression does not compile or evaluate."""
    try:
        value = ENVIRONMENT.compile(expression).eval(data={"a": data})
    except RuntimeError:
        return FAILED
    if value.type() == google.Type.ERROR:
        return FAILED
    return plain(value.plain_value())


def ours(expression: str, data: Any) -> Any:
    """Return our value in the same form."""
    try:
        variables = {"a": types.DYN}
        program = cel.compile(expression, variables, functions=libraries.ALL, homogeneous=False)
        return plain(program.evaluate({"a": data}))
    except (cel.CelError, cel.CelEvaluationError):
        return FAILED


def plain(value: Any) -> Any:
    """Return a value that compares by type and amount."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {plain(each): plain(other) for each, other in value.items()}
    if isinstance(value, Timestamp | Duration | Optional | dt.datetime | dt.timedelta):
        return _moment(value)
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, bytearray):
        return ("bytes", bytes(value))
    return (type(value).__name__.replace("Uint", "int"), value)


def _moment(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return ("moment", value.nanos // 1000)
    if isinstance(value, Duration):
        return ("span", value.nanos // 1000)
    if isinstance(value, dt.timedelta):
        return ("span", value // dt.timedelta(microseconds=1))
    if isinstance(value, dt.datetime):
        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return ("moment", (moment - epoch) // dt.timedelta(microseconds=1))
    return ("optional", plain(value.value) if value.present else None)
