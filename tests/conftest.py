"""What holds for every test, and what is shown of one that failed: why, and little else.

The pipeline shows only a part of what is printed. So a failure is a short traceback, the ends of
what was captured, and at the very end of the output its reason once more.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.e2e import logs

LOG_LINES = logs.LINES
"""Of the log of a machine."""
SHOWN_LINES = 15
"""Of each captured log, its last ones; of a traceback's entry, its first and last ones."""
SHOWN_COLUMNS = 240
REASON_LETTERS = 1500

# A busy machine makes an example slow, not wrong. Under CI hypothesis has a profile of its own,
# which says the same and draws the same examples every time.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    settings.load_profile("patient")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Keep what is shown of a failure short; the whole is there with `-vv`."""
    report = yield
    if report.failed:
        report.sections = [(name, _ending(name, text)) for name, text in report.sections]
        _shorten(report.longrepr)
    return report


def _ending(name: str, text: str) -> str:
    """Return the last lines of a log."""
    lines, most = text.splitlines(), LOG_LINES if name.startswith(logs.SECTION) else SHOWN_LINES
    left_out = [f"... {len(lines) - most} lines"] if len(lines) > most else []
    return "\n".join(left_out + [line[:SHOWN_COLUMNS] for line in lines[-most:]])


def _shorten(shown: Any) -> None:
    """Shorten the reason and the entries of a traceback in place."""
    crash = getattr(shown, "reprcrash", None)
    if crash is not None and len(crash.message) > REASON_LETTERS:
        crash.message = crash.message[:REASON_LETTERS] + " ..."
    for part in getattr(shown, "chain", ()):
        for entry in getattr(part[0], "reprentries", ()):
            lines = [line[:REASON_LETTERS] for line in entry.lines]
            if len(lines) > 3 * SHOWN_LINES:
                lines[2 * SHOWN_LINES : -SHOWN_LINES] = ["..."]
            entry.lines[:] = lines
