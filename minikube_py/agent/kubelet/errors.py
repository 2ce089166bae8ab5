"""Why a pod or a container cannot go on now."""


class StartRefusedError(Exception):
    """A container is not started; reason and message become those of its waiting state."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message


class SyncError(Exception):
    """A step of a pod failed; it is tried again later.

    `event` is the reason of the Warning that is recorded, "" where the step told by itself.
    """

    def __init__(self, message: str, event: str = "") -> None:
        super().__init__(message)
        self.event = event
