"""Kubernetes' `semver(text)`: versions by the rules of Semantic Versioning 2."""

import re
from typing import Any, Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import BOOL, INT, STRING, Type
from minikube_py.api.cel.values import UINT_MAX, Opaque

SEMVER: Final = Type("kubernetes.Semver")
_NUMBER: Final = r"(0|[1-9]\d*)"
_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)
_LENGTH_MAX: Final = 1000


def _normalized(text: str) -> str:
    """Drop a leading v, fill in missing parts and drop leading zeros."""
    core, mark, rest = re.match(r"([^+-]*)([+-]?)(.*)", text.removeprefix("v"), re.DOTALL).groups()  # type: ignore[union-attr]
    parts = [part.lstrip("0") or ("0" if part else "") for part in core.split(".")]
    if len(parts) < 3 and not mark:
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts) + mark + str(rest)


def parse(text: str, normalize: bool = False) -> Opaque:  # noqa: FBT001, FBT002 - an argument of the expression
    """Return a version; `normalize` forgives a leading v, missing parts and leading zeros.

    Raises:
        CelEvaluationError: the text is no version.

    """
    match = _VERSION.fullmatch(_normalized(text) if normalize else text)
    if (
        match is None
        or len(text) > _LENGTH_MAX
        or any(int(n) > UINT_MAX for n in match.groups()[:3])
    ):
        raise CelEvaluationError(f'semver parse error: "{text}"')
    numbers = tuple(map(int, match.groups()[:3]))
    return Opaque(SEMVER, (numbers, _prerelease(match[4])))


def _prerelease(text: str | None) -> tuple[Any, ...]:
    """Return what sorts as prereleases do: none comes last, numbers before words."""
    if text is None:
        return (1,)
    parts = ((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))
    return (0, tuple(parts))


def _is_semver(text: str, normalize: bool = False) -> bool:  # noqa: FBT001, FBT002 - an argument of the expression
    try:
        parse(text, normalize)
    except CelEvaluationError:
        return False
    return True


def _compare(one: Opaque, other: Opaque) -> int:
    left, right = one.value, other.value
    return int(left > right) - int(left < right)


_BOTH: Final = (SEMVER, SEMVER)

OVERLOADS: Final = (
    Overload("semver", (STRING,), SEMVER, parse, cost=cost.first),
    Overload("semver", (STRING, BOOL), SEMVER, parse, cost=cost.first),
    Overload("isSemver", (STRING,), BOOL, _is_semver, cost=cost.first),
    Overload("isSemver", (STRING, BOOL), BOOL, _is_semver, cost=cost.first),
    member("major", (SEMVER,), INT, lambda version: version.value[0][0]),
    member("minor", (SEMVER,), INT, lambda version: version.value[0][1]),
    member("patch", (SEMVER,), INT, lambda version: version.value[0][2]),
    member("isGreaterThan", _BOTH, BOOL, lambda one, other: one.value > other.value),
    member("isLessThan", _BOTH, BOOL, lambda one, other: one.value < other.value),
    member("compareTo", _BOTH, INT, _compare),
)
