"""Where every task of an event loop waits: its name and the stack of what it awaits."""

import asyncio
from collections.abc import Iterator
from types import CodeType
from typing import Any

DEPTH_MAX = 64


def render(loop: asyncio.AbstractEventLoop) -> str:
    """Return all tasks as text, by name; what they wait for outermost first."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    blocks = ["\n".join([f"{task.get_name()}:", *_stack(task)]) for task in tasks]
    return "\n\n".join([f"{len(tasks)} tasks", *blocks, ""])


def _stack(task: "asyncio.Task[Any]") -> Iterator[str]:
    """Yield the lines of a task; its own `get_stack` knows the outermost frame only."""
    awaited: Any = task.get_coro()
    for _ in range(DEPTH_MAX):
        code, line = _place(awaited)
        if code is None:
            if awaited is not None:
                yield f"    waits for {type(awaited).__name__}"
            return
        yield f"    {code.co_filename}:{line or '?'} in {code.co_qualname}"
        awaited = _awaited(awaited)


def _place(awaited: Any) -> tuple[CodeType | None, int | None]:
    """Return where a coroutine or generator stands."""
    for prefix in ("cr", "gi", "ag"):
        code = getattr(awaited, f"{prefix}_code", None)
        if code is not None:
            frame = getattr(awaited, f"{prefix}_frame", None)
            return code, frame.f_lineno if frame is not None else None
    return None, None


def _awaited(awaited: Any) -> Any:
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(awaited, name):
            return getattr(awaited, name)
    return None
