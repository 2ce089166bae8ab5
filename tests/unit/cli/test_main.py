"""Errors that end a program are one line; ours show where they come from."""

import errno
from typing import Any

import pytest

from minikube_py.cli import main as cli
from minikube_py.lib.errors import StartError


def end(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the program so that it fails."""

    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "program", fail)
    cli.main()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StartError("no port; choose one"), "error: no port; choose one\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/a"),
            "error: cannot write to /data/a: no space left on device; mend that and start again\n",
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "error: cannot write to the disk: read-only file system; mend that and start again\n",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        end(error, monkeypatch)
    assert ended.value.code == 1
    assert capsys.readouterr().err == told


def test_an_error_of_ours_shows_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokenPipeError):
        end(BrokenPipeError(errno.EPIPE, "Broken pipe"), monkeypatch)
