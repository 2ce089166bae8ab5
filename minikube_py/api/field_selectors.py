"""Which objects a request means, by the few fields of a kind that can be asked for.

The grammar and the errors are those of apimachinery's `fields` package; which fields a kind has
stands in its `Resource.selectable_fields`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{_escape(self.value)}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions on fields; without any it matches everything."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Tell whether the values of fields meet all conditions; an absent one is ""."""
        return all((fields.get(t.field, "") == t.value) == t.equal for t in self.terms)

    def renamed(self, names: Mapping[str, str]) -> "FieldSelector":
        """Return the same conditions on the same fields by other names."""
        terms = (FieldTerm(names.get(t.field, t.field), t.value, t.equal) for t in self.terms)
        return FieldSelector(tuple(terms))

    def exact(self, field: str) -> str | None:
        """Return the one value that the selector asks of a field, or None."""
        return next((t.value for t in self.terms if t.field == field and t.equal), None)

    def __bool__(self) -> bool:
        """False for the selector that matches everything."""
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


EVERYTHING = FieldSelector()
_UNESCAPED = re.compile(r"(?:[^\\,=]|\\[\\,=])*", re.DOTALL)
_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)


def parse(text: str, is_supported: Callable[[str], bool] | None = None) -> FieldSelector:
    """Parse the text form, such as `spec.nodeName=n1,status.phase!=Failed`.

    Raises:
        ValueError: with upstream's text; also for a field that `is_supported` does not know.

    """
    terms = tuple(_term(part, text) for part in sorted(_split_terms(text)) if part)
    for term in terms:
        if is_supported is not None and not is_supported(term.field):
            raise ValueError(f"field label not supported: {term.field}")
    return FieldSelector(terms)


def _split_terms(text: str) -> list[str]:
    """Split at commas that no backslash escapes."""
    return re.findall(r"(?:[^\\,]|\\.|\\$)+", text, re.DOTALL)


def _term(part: str, text: str) -> FieldTerm:
    match = _TERM.fullmatch(part)
    if match is None:
        raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")
    return FieldTerm(match[1], _unescape(match[3]), match[2] != "!=")


def _unescape(value: str) -> str:
    match = _UNESCAPED.match(value)
    rest = value[match.end() :] if match else value
    if rest[:1] == "\\":
        raise ValueError(f"invalid field selector: invalid escape sequence: {rest[:2]}")
    if rest:
        raise ValueError(f"invalid field selector: unescaped character in value: {rest[0]}")
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)
