"""Field paths and field errors, in the words of apimachinery's `util/validation/field`."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import orjson

OMIT: Final = object()
"""In place of a value that an error text does not show."""
INDEXES_KEPT_MAX: Final = 8
"""Of paths into a list, so many are remembered."""
BELOW_KEPT_MAX: Final = 64
"""The most paths that one remembers right below it; more than any type has fields."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field."""

    reason: str
    """FieldValueRequired, FieldValueInvalid, ... : the `reason` of a cause."""
    field: str
    text: str
    """All after `field: `."""

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    def cause(self) -> dict[str, Any]:
        """Return the entry of `details.causes`."""
        return {"reason": self.reason, "message": self.text, "field": self.field}


class Field:
    """A path to a field; `/` goes to a child, `[]` to an index or a map key.

    Most paths are made for errors that are not there, so that the text is made when it is read.
    """

    __slots__ = ("_above", "_below", "_last")

    def __init__(self, last: str = "", above: "Field | None" = None) -> None:
        self._last = last
        self._above = above
        self._below: dict[object, Field] | None = None

    @classmethod
    def kept(cls, path: str = "") -> "Field":
        """Return a path that remembers those below it: for a module, whose checks make them again.

        What stands behind a `/` is a name in our code, never a text of a user.
        """
        field = cls(path)
        field._below = {}
        return field

    def __truediv__(self, name: str) -> "Field":
        below = self._below
        if below is None:
            return Field(f".{name}", self)
        return below.get(name) or self._keep(name, Field(f".{name}", self))

    def __getitem__(self, key: object) -> "Field":
        below = self._below
        if below is None or key.__class__ is not int or key >= INDEXES_KEPT_MAX:
            return Field(f"[{key}]", self)
        return below.get(key) or self._keep(key, Field(f"[{key}]", self))

    def _keep(self, key: object, field: "Field") -> "Field":
        below = self._below
        if below is not None and len(below) < BELOW_KEPT_MAX:
            field._below = {}  # noqa: SLF001 -- its own class
            below[key] = field
        return field

    @property
    def path(self) -> str:
        """The path as text, empty for a whole object."""
        parts = []
        field: Field | None = self
        while field is not None:
            parts.append(field._last)  # noqa: SLF001 -- its own class
            field = field._above  # noqa: SLF001
        text = "".join(reversed(parts))
        return text if parts[-1] else text.removeprefix(".")

    def __str__(self) -> str:
        return self.path or "<nil>"

    def _error(self, reason: str, text: str) -> FieldError:
        return FieldError(reason, str(self), text)

    def required(self, detail: str = "") -> FieldError:
        """The field must be given."""
        return self._error("FieldValueRequired", f"Required value{_tail(detail)}")

    def invalid(self, value: Any, detail: str) -> FieldError:
        """The value breaks a rule; OMIT keeps it out of the text."""
        shown = "" if value is OMIT else f": {_show(value)}"
        return self._error("FieldValueInvalid", f"Invalid value{shown}{_tail(detail)}")

    def immutable(self, value: Any) -> FieldError:
        """The value may not change."""
        return self.invalid(value, "field is immutable")

    def duplicate(self, value: Any, detail: str = "") -> FieldError:
        """The value stands elsewhere in the list."""
        return self._error("FieldValueDuplicate", f"Duplicate value: {_show(value)}{_tail(detail)}")

    def not_found(self, value: Any, detail: str = "") -> FieldError:
        """The value refers to nothing."""
        return self._error("FieldValueNotFound", f"Not found: {_show(value)}{_tail(detail)}")

    def unsupported(self, value: Any, supported: Iterable[str]) -> FieldError:
        """The value is none of an enumeration; a set is shown sorted, a sequence as it stands."""
        ordered = sorted(supported) if isinstance(supported, AbstractSet) else supported
        names = ", ".join(_show(name) for name in ordered)
        detail = f"supported values: {names}" if names else ""
        return self._error(
            "FieldValueNotSupported", f"Unsupported value: {_show(value)}{_tail(detail)}"
        )

    def forbidden(self, detail: str) -> FieldError:
        """The field may not be given here."""
        return self._error("FieldValueForbidden", f"Forbidden{_tail(detail)}")

    def too_long(self, limit: int) -> FieldError:
        """The text is over its limit of bytes."""
        unit = "byte" if limit == 1 else "bytes"
        return self._error("FieldValueTooLong", f"Too long: may not be more than {limit} {unit}")

    def too_many(self, count: int, limit: int) -> FieldError:
        """The list is over its limit."""
        unit = "item" if limit == 1 else "items"
        return self._error(
            "FieldValueTooMany", f"Too many: {count}: must have at most {limit} {unit}"
        )

    def type_invalid(self, value: Any, detail: str) -> FieldError:
        """The value is of the wrong type."""
        return self._error("FieldValueTypeInvalid", f"Invalid value: {_show(value)}{_tail(detail)}")


def _tail(detail: str) -> str:
    return f": {detail}" if detail else ""


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f"}
_ESCAPES |= {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_NEEDS_ESCAPE = re.compile(r'["\\]')


def quote(text: str) -> str:
    """Return the text as Go's `%q` prints it, which is how messages show strings."""
    if text.isprintable() and not _NEEDS_ESCAPE.search(text):
        return f'"{text}"'
    return f'"{"".join(map(_escape, text))}"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _show(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    # Go's JSON escapes these three, so that the text may stand in HTML.
    text = orjson.dumps(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def invalid_message(kind: str, name: str, errors: Sequence[FieldError]) -> str:
    """Return the message of a 422 answer; `kind` is `Pod` or `Deployment.apps`."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return f'{kind} "{name}" is invalid: {body}'
