"""What names may look like: each check returns what is wrong, in the words of apimachinery.

A check takes the text and returns messages, none where the text is right. The usual case costs one
match of a compiled expression. Lengths are bytes, as Go counts them. There are two generations
upstream: the older checks speak of "characters", the ones for label keys and values of "bytes".
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

Messages = tuple[str, ...]
Check = Callable[[str], Messages]

LABEL_MAX: Final = 63
"""Longest DNS label, label value and name part of a label key (RFC 1123)."""
SUBDOMAIN_MAX: Final = 253
"""Longest DNS subdomain (RFC 1123)."""
ID_MAX: Final = 0x7FFFFFFF
"""Highest user or group id."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = rf"{_LABEL_UNDERSCORE}(\.{_LABEL_UNDERSCORE})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_CONDITION_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"

_is_label = re.compile(_LABEL).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_subdomain_underscore = re.compile(_SUBDOMAIN_UNDERSCORE).fullmatch
_is_label_1035 = re.compile(_LABEL_1035).fullmatch
_is_wildcard = re.compile(_WILDCARD).fullmatch
_is_key = re.compile(_KEY).fullmatch
_is_value = re.compile(_VALUE).fullmatch
_is_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_is_config_key = re.compile(_CONFIG_KEY).fullmatch
_is_header = re.compile(_HEADER).fullmatch
_is_percent = re.compile(_PERCENT).fullmatch
_is_condition_reason = re.compile(_CONDITION_REASON).fullmatch
_is_port_name = re.compile("[-a-z0-9]+").fullmatch
_is_relaxed_env_name = re.compile("[ -<>-~]+").fullmatch


def regex_message(text: str, expression: str, *examples: str) -> str:
    """Return the message for a text that does not match, with examples that would."""
    if not examples:
        return f"{text} (regex used for validation is '{expression}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{expression}')"


def length_message(limit: int) -> str:
    """Return the message for a text over its limit."""
    return f"must be no more than {limit} characters"


def range_message(low: int, high: int) -> str:
    """Return the message for a number outside its bounds."""
    return f"must be between {low} and {high}, inclusive"


_LABEL_MESSAGE = regex_message(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_MESSAGE = regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
    "'-' or '.', and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SUBDOMAIN_UNDERSCORE_MESSAGE = regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
    "'_', '-' or '.', and must start and end with an alphanumeric character",
    _SUBDOMAIN_UNDERSCORE,
    "example.com",
)
_LABEL_1035_MESSAGE = regex_message(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_WILDCARD_MESSAGE = regex_message(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
    "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
    "character",
    _WILDCARD,
    "*.example.com",
)
_KEY_MESSAGE = regex_message(
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _KEY,
    "MyName",
    "my.name",
    "123-abc",
)
_TOO_MANY_PARTS_MESSAGE = (
    f"a valid label key {_KEY_MESSAGE} with an optional DNS subdomain prefix and '/' "
    "(e.g. 'example.com/MyName')"
)
_VALUE_MESSAGE = regex_message(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_C_IDENTIFIER_MESSAGE = regex_message(
    "a valid C identifier must start with alphabetic character or '_', "
    "followed by a string of alphanumeric characters or '_'",
    _C_IDENTIFIER,
    "my_name",
    "MY_NAME",
    "MyName",
)
_CONFIG_KEY_MESSAGE = regex_message(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_HEADER_MESSAGE = regex_message(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"
)
_PERCENT_MESSAGE = regex_message(
    "a valid percent string must be a numeric string followed by an ending '%'",
    _PERCENT,
    "1%",
    "93%",
)
_CONDITION_REASON_MESSAGE = regex_message(
    "a condition reason must start with alphabetic character, optionally followed by a string of "
    "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
    _CONDITION_REASON,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_ENV_NAME_MESSAGE = (
    "a valid environment variable name must consist only of printable ASCII characters "
    "other than '='"
)


def _too_long(value: str, limit: int) -> bool:
    return len(value) > limit or (not value.isascii() and len(value.encode()) > limit)


def dns1123_label(value: str) -> Messages:
    """Check a DNS label: namespaces, containers, volumes."""
    if len(value) <= LABEL_MAX and _is_label(value):
        return ()
    messages = [length_message(LABEL_MAX)] if _too_long(value, LABEL_MAX) else []
    if not _is_label(value):
        messages.append("must not contain dots" if _is_subdomain(value) else _LABEL_MESSAGE)
    return tuple(messages)


def dns1123_subdomain(value: str) -> Messages:
    """Check a DNS subdomain: the names of most objects."""
    if len(value) <= SUBDOMAIN_MAX and _is_subdomain(value):
        return ()
    messages = [length_message(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _is_subdomain(value):
        messages.append(_SUBDOMAIN_MESSAGE)
    return tuple(messages)


def dns1123_subdomain_with_underscore(value: str) -> Messages:
    """Check a DNS subdomain whose labels may hold underscores: the search list of dnsConfig."""
    messages = [length_message(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _is_subdomain_underscore(value):
        messages.append(_SUBDOMAIN_UNDERSCORE_MESSAGE)
    return tuple(messages)


def dns1035_label(value: str) -> Messages:
    """Check a DNS label that starts with a letter: services of old, port names of CRDs."""
    messages = [length_message(LABEL_MAX)] if _too_long(value, LABEL_MAX) else []
    if not _is_label_1035(value):
        messages.append(_LABEL_1035_MESSAGE)
    return tuple(messages)


def wildcard_dns1123_subdomain(value: str) -> Messages:
    """Check a subdomain with a leading `*.`: hosts of ingresses."""
    messages = [length_message(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _is_wildcard(value):
        messages.append(_WILDCARD_MESSAGE)
    return tuple(messages)


def qualified_name(value: str) -> Messages:
    """Check a label key: a name with an optional DNS prefix, as `example.com/name`."""
    if len(value) <= LABEL_MAX and _is_key(value):
        return ()
    parts = value.split("/")
    if len(parts) > 2:
        return (_TOO_MANY_PARTS_MESSAGE,)
    messages = _prefix_messages(parts[0]) if len(parts) == 2 else []
    name = parts[-1]
    if not name:
        messages.append("name part must be non-empty")
    elif _too_long(name, LABEL_MAX):
        messages.append(f"name part must be no more than {LABEL_MAX} bytes")
    if not _is_key(name):
        messages.append(f"name part {_KEY_MESSAGE}")
    return tuple(messages)


def _prefix_messages(prefix: str) -> list[str]:
    if not prefix:
        return ["prefix part must be non-empty"]
    messages = []
    if _too_long(prefix, SUBDOMAIN_MAX):
        messages.append(f"prefix part must be no more than {SUBDOMAIN_MAX} bytes")
    if not _is_subdomain(prefix):
        messages.append(f"prefix part {_SUBDOMAIN_MESSAGE}")
    return messages


def label_value(value: str) -> Messages:
    """Check the value of a label."""
    if len(value) <= LABEL_MAX and _is_value(value):
        return ()
    messages = []
    if _too_long(value, LABEL_MAX):
        messages.append(f"must be no more than {LABEL_MAX} bytes")
    if not _is_value(value):
        messages.append(_VALUE_MESSAGE)
    return tuple(messages)


def c_identifier(value: str) -> Messages:
    """Check an identifier of C."""
    return () if _is_c_identifier(value) else (_C_IDENTIFIER_MESSAGE,)


def env_var_name(value: str) -> Messages:
    """Check the name of an environment variable (relaxed since v1.34: all but `=`)."""
    if _is_relaxed_env_name(value):
        return ()
    if not value:
        return ("environment variable name must be non-empty",)
    return (_ENV_NAME_MESSAGE,)


def config_map_key(value: str) -> Messages:
    """Check a key of a config map or secret."""
    if len(value) <= SUBDOMAIN_MAX and value[0:1] != "." and _is_config_key(value):
        return ()
    messages = [length_message(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _is_config_key(value):
        messages.append(_CONFIG_KEY_MESSAGE)
    if value in {".", ".."}:
        messages.append(f"must not be '{value}'")
    elif value.startswith(".."):
        messages.append("must not start with '..'")
    return tuple(messages)


def port_number(value: int) -> Messages:
    """Check a port number."""
    return () if 1 <= value <= 65535 else (range_message(1, 65535),)


def port_name(value: str) -> Messages:
    """Check the name of a port (RFC 6335, lower case only)."""
    messages = [length_message(15)] if _too_long(value, 15) else []
    if not _is_port_name(value):
        messages.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in value):
        messages.append("must contain at least one letter (a-z)")
    if "--" in value:
        messages.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        messages.append("must not begin or end with a hyphen")
    return tuple(messages)


def user_id(value: int) -> Messages:
    """Check a user or group id."""
    return () if 0 <= value <= ID_MAX else (range_message(0, ID_MAX),)


def percent(value: str) -> Messages:
    """Check a percentage such as `25%`."""
    return () if _is_percent(value) else (_PERCENT_MESSAGE,)


def http_header_name(value: str) -> Messages:
    """Check the name of an HTTP header."""
    return () if _is_header(value) else (_HEADER_MESSAGE,)


def condition_reason(value: str) -> Messages:
    """Check the reason of a condition."""
    return () if _is_condition_reason(value) else (_CONDITION_REASON_MESSAGE,)


def path_segment(value: str) -> Messages:
    """Check a name that need only be one segment of a path: RBAC objects."""
    if value in {".", ".."}:
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in value)


def as_prefix(value: str) -> str:
    """Return a generateName in the form that the checks of names take: a trailing dash is fine."""
    return f"{value[:-2]}a" if len(value) > 1 and value.endswith("-") else value


def is_dns1123_label(value: str) -> bool:
    """Tell whether the text is a DNS label."""
    return len(value) <= LABEL_MAX and _is_label(value) is not None


def all_of(*checks: Check) -> Check:
    """Return the check that reports what any of the checks reports."""

    def check(value: str) -> Messages:
        found: list[str] = []
        for one in checks:
            found.extend(one(value))
        return tuple(found)

    return check


def first_messages(value: str, checks: Iterable[Check]) -> Messages:
    """Return what the first check that finds anything reports."""
    return next((messages for check in checks if (messages := check(value))), ())
