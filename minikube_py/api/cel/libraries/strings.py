"""Functions of texts: the language's own and the strings extension."""

import re
from typing import Any, Final

from minikube_py.api.cel import cost, patterns
from minikube_py.api.cel.errors import CelCostError, CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.libraries.formatting import format_text
from minikube_py.api.cel.types import BOOL, DYN, INT, STRING, list_of

LENGTH_MAX: Final = 10 * cost.PER_CALL_LIMIT
"""Characters that a result may have: more would cost more than any evaluation may spend."""
_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER: Final = {code + 32: code for code in _LOWER}
_QUOTED: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def _matches(text: str, pattern: str) -> bool:
    return patterns.matches(pattern, text)


def _char_at(text: str, position: int) -> str:
    if not 0 <= position <= len(text):
        raise CelEvaluationError(f"index out of range: {position}")
    return text[position : position + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not part:
        return start
    if not 0 <= start < max(len(text), 1):
        raise CelEvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


def _last_index_before(text: str, part: str, last: int) -> int:
    if not part:
        return last
    if not 0 <= last < max(len(text), 1):
        raise CelEvaluationError(f"index out of range: {last}")
    return text.rfind(part, 0, last + len(part))


def _join(texts: Any, separator: str = "") -> str:
    if any(not isinstance(each, str) for each in texts):
        raise CelEvaluationError("no such overload")
    _bound(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    found = len(text) + 1 if not old else text.count(old)
    wanted = found if count < 0 else min(found, count)
    _bound(len(text) + wanted * len(new))
    return text.replace(old, new, count)


def _bound(length: int) -> None:
    if length > LENGTH_MAX:
        raise CelCostError("operation cancelled: actual cost limit exceeded")


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if not count:
        return []
    if not separator:
        cut = len(text) if count < 0 else min(count - 1, max(len(text) - 1, 0))
        return [*text[:cut], *([text[cut:]] if text[cut:] else [])]
    return text.split(separator, -1 if count < 0 else count - 1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise CelEvaluationError(f"index out of range: {start}")
    if not 0 <= stop <= len(text):
        raise CelEvaluationError(f"index out of range: {stop}")
    if start > stop:
        raise CelEvaluationError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def _quote(text: str) -> str:
    return '"' + re.sub('[\a\b\f\n\r\t\v\\\\"]', lambda match: _QUOTED[match[0]], text) + '"'


_TEXTS: Final = list_of(STRING)
_BOTH: Final = (STRING, STRING)

OVERLOADS: Final[tuple[Overload, ...]] = (
    member("startsWith", _BOTH, BOOL, str.startswith, cost.affix),
    member("endsWith", _BOTH, BOOL, str.endswith, cost.affix),
    member("contains", _BOTH, BOOL, str.__contains__, cost.product),
    member("matches", _BOTH, BOOL, _matches, cost.pattern),
    Overload("matches", _BOTH, BOOL, _matches, cost=cost.pattern),
    member("charAt", (STRING, INT), STRING, _char_at, cost.first),
    member("indexOf", _BOTH, INT, _index_of, cost.product),
    member("indexOf", (*_BOTH, INT), INT, _index_of, cost.product),
    member("lastIndexOf", _BOTH, INT, _last_index_of, cost.product),
    member("lastIndexOf", (*_BOTH, INT), INT, _last_index_before, cost.product),
    member("lowerAscii", (STRING,), STRING, lambda text: text.translate(_LOWER), cost.first),
    member("upperAscii", (STRING,), STRING, lambda text: text.translate(_UPPER), cost.first),
    member("replace", (*_BOTH, STRING), STRING, _replace, cost.made),
    member("replace", (*_BOTH, STRING, INT), STRING, _replace, cost.made),
    member("split", _BOTH, _TEXTS, _split, cost.first),
    member("split", (*_BOTH, INT), _TEXTS, _split, cost.first),
    member("join", (_TEXTS,), STRING, _join, cost.made),
    member("join", (_TEXTS, STRING), STRING, _join, cost.made),
    member("substring", (STRING, INT), STRING, _substring, cost.first),
    member("substring", (STRING, INT, INT), STRING, _substring, cost.first),
    member("trim", (STRING,), STRING, lambda text: text.strip(_SPACE), cost.first),
    member("format", (STRING, list_of(DYN)), STRING, format_text, cost.made),
    Overload("strings.quote", (STRING,), STRING, _quote, cost=cost.first),
)
NEWER: Final = (member("reverse", (STRING,), STRING, lambda text: text[::-1], cost.first),)
"""What later versions of the extension have, which Kubernetes does not offer."""
