"""What reaches the log."""

import io
import logging
from collections.abc import Iterator

import pytest

from minikube_py.lib.log import configure


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_libraries_do_not_show_what_passes_through_them() -> None:
    stream = io.StringIO()
    configure("debug", stream)
    logging.getLogger("aiosqlite").debug("executing %s", "a secret")
    logging.getLogger("minikube_py.server").debug("a decision")
    assert "secret" not in stream.getvalue()
    assert "a decision" in stream.getvalue()
