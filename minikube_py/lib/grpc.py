"""gRPC, imported when it is needed."""

import os
from functools import cache
from typing import Any


@cache
def grpc_library() -> Any:
    """Import gRPC at the first call: 13 MB that only some parts need."""
    # kpy starts programs while calls are under way, but never forks itself; without this gRPC
    # complains of each. It is read at the import.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    import grpc.aio  # noqa: PLC0415

    return grpc
