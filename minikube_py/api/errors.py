"""What the API server answers when it refuses: a Status with a reason, a code and details.

Reasons, codes and words follow apimachinery's `api/errors`, because clients match on them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from minikube_py.api.object import Obj


class StatusError(Exception):
    """A refusal that reaches the client as a `Status` document."""

    reason = "InternalError"
    code = 500
    keeps_empty_details = False
    """Whether the Status shows `details` where there are none, as some of upstream's do."""

    def __init__(
        self,
        message: str,
        *,
        details: Obj | None = None,
        causes: Sequence[Obj] = (),
        retry_after_seconds: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, Any] = {}
        """ListMeta of the Status: the token that continues an expired list."""
        self.details: dict[str, Any] = dict(details or {})
        if details is not None:
            self.keeps_empty_details = True
        if causes:
            self.details["causes"] = list(causes)
        if retry_after_seconds:
            self.details["retryAfterSeconds"] = retry_after_seconds

    def status(self) -> dict[str, Any]:
        """Return the `Status` document of this error."""
        document: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        if not self.details and not self.keeps_empty_details:
            del document["details"]
        if not self.reason:
            del document["reason"]
        return document


class BadRequestError(StatusError):
    """The request cannot be understood."""

    reason, code = "BadRequest", 400


class UnauthorizedError(StatusError):
    """Nobody known asked."""

    reason, code = "Unauthorized", 401


class ForbiddenError(StatusError):
    """The user may not do that, or admission refused it."""

    reason, code = "Forbidden", 403


class NotFoundError(StatusError):
    """There is no such object or no such path."""

    reason, code = "NotFound", 404


class MethodNotAllowedError(StatusError):
    """The resource has no such verb."""

    reason, code = "MethodNotAllowed", 405
    keeps_empty_details = True


class NotAcceptableError(StatusError):
    """No representation that the client accepts can be made."""

    reason, code = "NotAcceptable", 406


class AlreadyExistsError(StatusError):
    """An object of that name is there already."""

    reason, code = "AlreadyExists", 409


class ConflictError(StatusError):
    """The object changed since the caller read it, or a precondition failed."""

    reason, code = "Conflict", 409


class ExpiredError(StatusError):
    """The revision or the continue token is too old; list again."""

    reason, code = "Expired", 410


class GoneError(StatusError):
    """The revision is too old; upstream has both reasons with one code."""

    reason, code = "Gone", 410


class RequestTooLargeError(StatusError):
    """The body is over the limit."""

    reason, code = "RequestEntityTooLarge", 413


class UnsupportedMediaTypeError(StatusError):
    """The body is of a type that is not understood."""

    reason, code = "UnsupportedMediaType", 415


class InvalidError(StatusError):
    """The object breaks rules of its kind; the causes name the fields."""

    reason, code = "Invalid", 422


class TooManyRequestsError(StatusError):
    """Ask again later."""

    reason, code = "TooManyRequests", 429


class InternalError(StatusError):
    """A fault of the server; the log holds more than the client is told."""

    reason, code = "InternalError", 500


class NotImplementedYetError(StatusError):
    """The server knows what is meant and does not do it."""

    reason, code = "NotImplemented", 501


class ServiceUnavailableError(StatusError):
    """The server cannot do it now."""

    reason, code = "ServiceUnavailable", 503


class ServerTimeoutError(StatusError):
    """The server gave up waiting."""

    reason, code = "Timeout", 504


ERRORS: tuple[type[StatusError], ...] = (
    BadRequestError,
    UnauthorizedError,
    ForbiddenError,
    NotFoundError,
    MethodNotAllowedError,
    NotAcceptableError,
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    GoneError,
    RequestTooLargeError,
    UnsupportedMediaTypeError,
    InvalidError,
    TooManyRequestsError,
    InternalError,
    NotImplementedYetError,
    ServiceUnavailableError,
    ServerTimeoutError,
)


def from_status(status: Obj) -> StatusError:
    """Make the error that a `Status` document tells of; a client raises it."""
    kinds: Iterable[type[StatusError]] = (e for e in ERRORS if e.reason == status.get("reason"))
    by_code = (e for e in ERRORS if e.code == status.get("code"))
    kind = next(iter(kinds), None) or next(iter(by_code), StatusError)
    error = kind(str(status.get("message", "")), details=status.get("details"))
    error.code = int(status.get("code") or error.code)
    return error
