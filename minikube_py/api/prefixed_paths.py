"""Names such as `acme.io/foo`: who made it, and what it is."""

import re
from collections.abc import Iterator

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError

_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def domain_prefixed_path(value: str, field: Field) -> Iterator[FieldError]:
    """Report a value that is not like `acme.io/foo`."""
    if not value:
        yield field.required()
        return
    host, _, path = value.partition("/")
    if not host or not path:
        yield field.invalid(value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    yield from (field.invalid(host, text) for text in names.dns1123_subdomain(host))
    if not _HTTP_PATH.fullmatch(path):
        yield field.invalid(path, names.regex_message("Invalid path", _HTTP_PATH.pattern))
