"""Processes are found by what their command lines say."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from minikube_py.lib.pids import find_processes, gone

WAIT = "import sys; print(flush=True); sys.stdin.read()"


@contextlib.contextmanager
def waiting(*command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have a process that waits until its input ends."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_a_process_is_found_by_its_words_until_it_has_ended(tmp_path: Path) -> None:
    word = f"--data-dir={tmp_path}"
    assert find_processes(word) == []
    with waiting(sys.executable, "-c", WAIT, word) as process:
        assert find_processes(word) == [process.pid]
        assert find_processes(sys.executable, word) == [process.pid]
        assert find_processes("containerd", word) == []
        assert find_processes(str(tmp_path)) == []  # a part of a word is none
        assert process.stdin is not None
        process.stdin.close()
        await gone(process.pid)
        assert find_processes(word) == []  # it has ended, and nobody has waited for it yet


def test_a_process_of_another_container_is_not_found(tmp_path: Path) -> None:
    word = f"--data-dir={tmp_path}"
    apart = ("unshare", "--user", "--pid", "--fork")
    with waiting(*apart, sys.executable, "-c", WAIT, word) as process:
        (inside,) = children(process.pid)
        assert word in Path(f"/proc/{inside}/cmdline").read_text().split("\0")
        assert find_processes(word) == [process.pid]
