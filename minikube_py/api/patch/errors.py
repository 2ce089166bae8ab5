"""How patches fail, each with the status that the API server of Kubernetes answers.

The texts are those of apiserver's `endpoints/handlers/patch.go` and of apimachinery's
`util/mergepatch`, because clients show them.
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.errors import StatusError


class PatchError(StatusError):
    """A patch that cannot be carried out; one of the classes below."""


class MalformedPatchError(PatchError):
    """The document is not a patch of that kind."""

    reason, code = "BadRequest", 400


class PatchTooLargeError(PatchError):
    """The patch asks for too much."""

    reason, code = "RequestEntityTooLarge", 413


class InapplicablePatchError(PatchError):
    """A patch that does not fit this object: a path is missing, a test fails.

    Upstream answers with one text for all; the cause is kept for the log.
    """

    reason, code = "Invalid", 422
    keeps_empty_details = True

    def __init__(self, cause: str) -> None:
        super().__init__("the server rejected our request due to an error in our request")
        self.cause = cause


class PatchTestError(InapplicablePatchError):
    """A `test` operation of a JSON patch found another value."""


class UnusablePatchError(PatchError):
    """A strategic merge patch whose directives make no sense: upstream answers 500, no reason."""

    reason, code = "", 500


def go_type(value: Any) -> str:
    """Return the word for the sort of a JSON value in texts of Go's JSON decoder."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case list() | tuple():
            return "array"
    return "null"
