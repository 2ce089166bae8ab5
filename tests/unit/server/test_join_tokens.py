"""The join token: the newest lets in, those before it are known, others are nothing."""

from pathlib import Path

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.server.join_tokens import EARLIER_MAX, rotate, standing

FIRST = "first-secret"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"K10{'a' * 64}::server:{FIRST}\n")
    return tmp_path


def test_the_newest_lets_in_and_those_before_it_are_known(folder: Path) -> None:
    assert standing(folder, FIRST) == "current"
    token = rotate(folder)
    assert token.startswith(f"K10{'a' * 64}::server:")
    assert standing(folder, token.rpartition(":")[2]) == "current"
    assert standing(folder, FIRST) == "earlier"
    assert standing(folder, "never-was") is None
    assert standing(folder, "") is None


def test_of_earlier_ones_only_hashes_are_kept(folder: Path) -> None:
    rotate(folder, "second-secret")
    kept = (folder / "token.earlier").read_text()
    assert FIRST not in kept
    assert (folder / "token.earlier").stat().st_mode & 0o777 == 0o600
    assert (folder / "token").stat().st_mode & 0o777 == 0o600


def test_one_may_come_back(folder: Path) -> None:
    rotate(folder, "second-secret")
    rotate(folder, FIRST)
    assert standing(folder, FIRST) == "current"
    assert standing(folder, "second-secret") == "earlier"
    rotate(folder, FIRST)
    assert standing(folder, FIRST) == "current"


def test_the_number_of_earlier_ones_is_bounded(folder: Path) -> None:
    for number in range(EARLIER_MAX + 1):
        rotate(folder, f"secret-number-{number}")
    assert standing(folder, FIRST) is None
    assert standing(folder, "secret-number-0") == "earlier"


@pytest.mark.parametrize("secret", ["short", "with a space", "with:colon", "line\nbreak1", "é" * 9])
def test_a_secret_that_cannot_be_one_is_refused(folder: Path, secret: str) -> None:
    with pytest.raises(StartError, match="--new-token"):
        rotate(folder, secret)
    assert standing(folder, FIRST) == "current"


def test_nothing_is_rotated_where_no_server_has_run(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="start `kpy server` first"):
        rotate(tmp_path)
    assert standing(tmp_path, "") is None
