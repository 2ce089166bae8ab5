"""What a call may cost at worst, beside its arguments, and how large its result may be.

A function that is not listed costs one unit. Figures: cel-go's `checker/cost.go`, Kubernetes'
`cel/library/cost.go`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.ranges import MOST, ONE, ZERO, Range, exactly
from minikube_py.api.cel.types import Type

_TRAVERSAL: Final = 0.1
_PATTERN: Final = 0.25
_FORMAT_PATTERN: Final = 128 * _PATTERN
"""The longest pattern of a named format, as a factor."""
_AUTHORIZATION: Final = exactly(350_000)


class Argument(NamedTuple):
    """What is known of an argument."""

    type: Type
    size: Range
    item: Range | None
    """The size of an element of a list; None for what has no parameters."""
    constant: Any = None


class Estimated(NamedTuple):
    """The cost of a call and the size of its result, None where nothing is known of it."""

    cost: Range
    size: Range | None = None


Arguments = Sequence[Argument]
Estimate = Callable[[Argument | None, Arguments], Estimated | None]
"""Takes the target of a member call and the arguments; None costs a unit."""
_NOMINAL: Final = Estimated(ONE)


def call_cost(
    function: str, overload: Overload | None, target: Argument | None, arguments: Arguments
) -> Estimated:
    """Return the estimate of one overload of a function."""
    kinds = [each.name for each in overload.parameters] if overload is not None else []
    telling = kinds[-1 if function == "@in" else 0] if kinds else ""
    estimate = _BY_KIND.get((function, telling)) or _BY_NAME.get(function)
    found = estimate(target, arguments) if estimate is not None else None
    return found or _NOMINAL


def _walk_target(target: Argument | None, _arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    return Estimated(target.size.scaled(_TRAVERSAL), target.size)


def _walk_first(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    return Estimated(arguments[0].size.scaled(_TRAVERSAL)) if arguments else None


def _walk_url(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    size = arguments[0].size
    return Estimated(size.scaled(_TRAVERSAL), size)


def _format(target: Argument | None, _arguments: Arguments) -> Estimated | None:
    return Estimated(target.size.scaled(_TRAVERSAL)) if target is not None else None


def _to_bytes(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    size = arguments[0].size
    return Estimated(size.scaled(_TRAVERSAL), Range(size.least, min(size.most * 4, MOST)))


def _to_text(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    size = arguments[0].size
    return Estimated(size.scaled(_TRAVERSAL), Range(size.least // 4, size.most))


def _quote(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    size = arguments[0].size
    grown = Range(size.least + 2, min(size.most * 2 + 2, MOST))
    return Estimated(size.scaled(_TRAVERSAL), grown)


def _in_list(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    return Estimated(arguments[1].size)


def _matches(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    return Estimated(_pattern_cost(target.size, arguments[0].size))


def _pattern_cost(text: Range, pattern: Range) -> Range:
    return text.plus(ONE).scaled(_TRAVERSAL).times(pattern.scaled(_PATTERN))


def _find(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    cost = _pattern_cost(target.size, arguments[0].size)
    return Estimated(cost, Range(0, target.size.most))


def _contains(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    part = arguments[0].size.scaled(_TRAVERSAL)
    return Estimated(target.size.scaled(_TRAVERSAL).times(part))


def _compare(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    most = min(arguments[0].size.most, arguments[1].size.most)
    return Estimated(Range(1 if most else 0, most).scaled(_TRAVERSAL))


def _equal(target: Argument | None, arguments: Arguments) -> Estimated | None:
    left, right = arguments[0].type, arguments[1].type
    if left == right and left.name in _UNIT_EQUAL:
        return _NOMINAL
    return _compare(target, arguments)


_UNIT_EQUAL: Final = frozenset(
    {
        "net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver",
        "kubernetes.authorization.Authorizer", "kubernetes.authorization.PathCheck",
        "kubernetes.authorization.GroupCheck", "kubernetes.authorization.ResourceCheck",
        "kubernetes.authorization.Decision",
    }
)  # fmt: skip


def _join_lists(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    return Estimated(ONE, arguments[0].size.plus(arguments[1].size))


def _join_texts(_target: Argument | None, arguments: Arguments) -> Estimated | None:
    size = arguments[0].size.plus(arguments[1].size)
    return Estimated(size.scaled(_TRAVERSAL), size)


def _elements(target: Argument | None, _arguments: Arguments) -> Estimated | None:
    """A walk of a list, and of the texts in it; or of a text."""
    if target is None:
        return None
    if target.item is None:
        return Estimated(target.size.scaled(_TRAVERSAL))
    each = ONE
    if target.type.parameters[0].name in {"string", "bytes"}:
        each = ONE.plus(target.item.scaled(_TRAVERSAL))
    return Estimated(target.size.times(each))


def _replace(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    text, old, new = target.size, arguments[0].size, arguments[1].size
    least = _replaced(text.least, old.most, new.least, grows=old.most > new.least)
    most = _replaced(text.most, old.least, new.most, grows=new.most > old.least)
    size = Range(least, most)
    return Estimated(text.scaled(2 * _TRAVERSAL), size)


def _replaced(text: int, old: int, new: int, *, grows: bool) -> int:
    """Return the length of a text whose parts of a length are all replaced."""
    if not old:  # an empty part stands before each character and at the end
        return min(min(text + 1, MOST) * new + text, MOST)
    if not grows:
        return text
    return min(-(-text // old) * new, MOST)


def _split(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    most = target.size.most
    if len(arguments) > 1 and type(arguments[1].constant) is int:
        most = arguments[1].constant if arguments[1].constant >= 0 else MOST
    return Estimated(target.size.scaled(2 * _TRAVERSAL), Range(0, most))


def _join(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    count = target.size
    size = count.times(target.item) if target.item is not None else ZERO
    if arguments:
        gaps = Range(max(count.least - 1, 0), max(count.most - 1, 0))
        size = size.plus(arguments[0].size.times(gaps))
    return Estimated(size.scaled(_TRAVERSAL), size)


def _contains_ip(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    return Estimated(Range(8, 32).scaled(_TRAVERSAL).plus(_parsing(arguments[0])))


def _contains_cidr(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    cost = Range(8, 32).scaled(_TRAVERSAL).plus(Range(4, 16).scaled(_TRAVERSAL)).plus(ONE)
    return Estimated(cost.plus(_parsing(arguments[0])))


def _parsing(argument: Argument) -> Range:
    return argument.size.scaled(_TRAVERSAL) if argument.type.name == "string" else ZERO


def _validate(target: Argument | None, arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    return Estimated(arguments[0].size.scaled(_TRAVERSAL).scaled(_FORMAT_PATTERN))


def _sets(factor: float) -> Estimate:
    def estimate(_target: Argument | None, arguments: Arguments) -> Estimated:
        return Estimated(arguments[0].size.times(arguments[1].size).scaled(factor).plus(ONE))

    return estimate


def _squared(target: Argument | None, _arguments: Arguments) -> Estimated | None:
    if target is None:
        return None
    return Estimated(target.size.times(target.size).plus(ONE), target.size)


def _check(_target: Argument | None, _arguments: Arguments) -> Estimated:
    return Estimated(_AUTHORIZATION)


_COMPARED: Final = ("_<_", "_<=_", "_>_", "_>=_")
_BY_KIND: Final[Mapping[tuple[str, str], Estimate]] = {
    ("@in", "list"): _in_list,
    ("bytes", "string"): _to_bytes,
    ("string", "bytes"): _to_text,
    ("_+_", "string"): _join_texts,
    ("_+_", "bytes"): _join_texts,
    ("_+_", "list"): _join_lists,
    **{(name, kind): _compare for name in _COMPARED for kind in ("string", "bytes")},
}
"""Functions of which only some overloads are dear, by the type of one parameter."""
_BY_NAME: Final[Mapping[str, Estimate]] = {
    "_==_": _equal,
    "_!=_": _compare,
    "startsWith": _walk_first,
    "endsWith": _walk_first,
    "fieldSelector": _walk_first,
    "labelSelector": _walk_first,
    "contains": _contains,
    "matches": _matches,
    "find": _find,
    "findAll": _find,
    "format": _format,
    "strings.quote": _quote,
    "url": _walk_url,
    "jsonpatch.escapeKey": _walk_url,
    "lowerAscii": _walk_target,
    "upperAscii": _walk_target,
    "substring": _walk_target,
    "trim": _walk_target,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "isSorted": _elements,
    "sum": _elements,
    "min": _elements,
    "max": _elements,
    "indexOf": _elements,
    "lastIndexOf": _elements,
    "distinct": _squared,
    "sort": _squared,
    "sets.contains": _sets(1),
    "sets.intersects": _sets(1),
    "sets.equivalent": _sets(2),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "check": _check,
}
