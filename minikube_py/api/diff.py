"""The difference of two values as text, as messages of upstream show it."""

import difflib
import json
from typing import Any


def unified(old: Any, new: Any) -> str:
    """Return the lines of indented JSON that differ, with three lines around each."""
    before, after = (json.dumps(value, indent=1).splitlines() for value in (old, new))
    lines = list(difflib.unified_diff(before, after, lineterm=""))
    return "".join(f"{line}\n" for line in lines[2:])
