"""What a container runtime answers when it refuses, by what the caller can do about it."""


class CriError(Exception):
    """The runtime refused; the message is its own."""

    code = "UNKNOWN"

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code

    @property
    def as_go_says(self) -> str:
        """The error as Go clients print it."""
        name = "".join(word.capitalize() for word in self.code.split("_"))
        return f"rpc error: code = {name} desc = {self.message}"


class CriNotFoundError(CriError):
    """There is no such sandbox, container or image."""

    code = "NOT_FOUND"


class CriTimeoutError(CriError):
    """The runtime did not answer in time, or a command ran too long."""

    code = "DEADLINE_EXCEEDED"


class CriUnavailableError(CriError):
    """Nobody listens at the runtime's socket; try again."""

    code = "UNAVAILABLE"


class CriUnimplementedError(CriError):
    """The runtime does not know that call."""

    code = "UNIMPLEMENTED"


ERRORS: tuple[type[CriError], ...] = (
    CriNotFoundError,
    CriTimeoutError,
    CriUnavailableError,
    CriUnimplementedError,
)


def from_code(code: str, message: str) -> CriError:
    """Make the error of a gRPC status code."""
    kind = next((error for error in ERRORS if error.code == code), CriError)
    return kind(message, code)
