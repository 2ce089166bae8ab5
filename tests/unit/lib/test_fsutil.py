"""Files are whole or absent; a folder has one user."""

from pathlib import Path

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import FolderLock, make_dir, read_if_there, write_atomic


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    write_atomic(file, b"old")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match=f"No space.*{file}"):
        write_atomic(file, b"new")
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == b"old"


def test_a_file_is_written_only_where_that_changes_it(tmp_path: Path) -> None:
    file = tmp_path / "a"

    def written(data: bytes, mode: int) -> bool:
        before = file.stat().st_ino
        held = file.open("rb")  # so that its number is not used again
        write_atomic(file, data, mode)
        with held:
            assert file.read_bytes() == data
            assert file.stat().st_mode & 0o777 == mode
            return file.stat().st_ino != before

    write_atomic(file, b"old")
    assert not written(b"old", 0o600)
    assert written(b"new", 0o600)
    assert written(b"new", 0o644)
    assert not written(b"new", 0o644)


def test_a_missing_file_reads_as_none(tmp_path: Path) -> None:
    assert read_if_there(tmp_path / "none") is None
    with pytest.raises(StartError, match="cannot read"):
        read_if_there(tmp_path)


def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(StartError, match=r"in use by process \d+; stop it"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(StartError, match=r"cannot use folder .*/f/g: not a directory"):
        make_dir(tmp_path / "f" / "g")
