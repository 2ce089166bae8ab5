"""Processes are killed while they write, round after round, each on what the last one left.

`make crash` does a thousand rounds.
"""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend, DatastoreError
from minikube_py.datastore.open import open_backend
from tests.datastore import etcd_server, servers
from tests.datastore.etcd_server import QUICK, Member
from tests.datastore.proof import aftermath
from tests.datastore.proof.history import History, Line, Shown, parsed
from tests.datastore.proof.life import LAZY
from tests.datastore.servers import Server

ROUNDS = int(os.environ.get("KPY_CRASH_ROUNDS", "8"))
SEED = os.environ.get("KPY_CRASH_SEED", "11")
LINES_MAX = 1500
"""A process is killed before it has told more than this."""
LINE_BYTES_MAX = 1 << 20
SECONDS_MAX = 60.0
SERVERS = {"postgres": servers.postgres, "mariadb": servers.mariadb}


@pytest.fixture(params=["sqlite", *SERVERS, "etcd"])
def place(request: pytest.FixtureRequest) -> Iterator[Server | Member | None]:
    """A database server of the test's own; None for the embedded store."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield None
        elif request.param == "etcd":
            yield stack.enter_context(etcd_server.etcd())
        else:
            yield stack.enter_context(SERVERS[request.param]())


def lived(endpoint: str, data_dir: Path, processes: int, lines: int, *options: str) -> list[Line]:
    """Let processes write until they have told so many lines, then kill them; return all lines.

    They share one socket, in which each line is whole and stands where it was told: what is
    written to a pipe is mixed with what others write when it is more than a page.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    life = [sys.executable, "-m", "tests.datastore.proof.life", *options]
    command = [*life, "--endpoint", endpoint, "--data-dir", str(data_dir)]
    running = [
        subprocess.Popen([*command, f"--seed={options[0]}-{n}"], stdout=theirs)
        for n in range(processes)
    ]
    theirs.close()
    told: list[bytes] = []
    with ours:
        while line := ours.recv(LINE_BYTES_MAX):
            told.append(line)
            if len(told) >= lines:
                for process in running:
                    process.send_signal(signal.SIGKILL)
    for process in running:
        assert process.wait(SECONDS_MAX) == -signal.SIGKILL, told[-2:]
    return parsed(b"".join(told))


async def reopened(endpoint: str, data_dir: Path) -> Backend:
    """Open the store, as soon as a database server that was killed is there again."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            try:
                return await open_backend(endpoint, data_dir=data_dir, lazy_prefixes=(LAZY,))
            except DatastoreError:
                if not endpoint:
                    raise
                await asyncio.sleep(0.02)


def power_cut(place: Server | Member) -> None:
    """Kill a database server and start it again."""
    place.kill()
    if isinstance(place, Member):
        place.start("", *QUICK)
    else:
        place.start()


async def test_no_round_of_kill_9_loses_what_was_acknowledged(
    place: Server | Member | None, tmp_path: Path
) -> None:
    endpoint = place.endpoint() if place else ""
    choose = random.Random(SEED)  # noqa: S311
    found: dict[str, Shown] = {}
    newest = acknowledged = 0
    rounds = ROUNDS // 2 if place else ROUNDS
    for number in range(rounds):
        options = [f"--seed={SEED}.{number}", f"--after={newest}"]
        options += ["--restless"] * (number % 2) + ["--size=900"] * (number % 3 == 0)
        lines = lived(
            endpoint, tmp_path, 2 if place else 1, choose.randrange(1, LINES_MAX), *options
        )
        if place and number % 2:
            power_cut(place)
        history = History(lines)
        backend = await reopened(endpoint, tmp_path)
        try:
            found = await aftermath.check(backend, history, found)
            newest = await backend.revision()
        except AssertionError as error:
            raise AssertionError(f"round {number} of seed {SEED}: {error}") from error
        finally:
            await backend.close()
        acknowledged += history.acknowledged
    assert acknowledged > rounds
    print(f"rounds={rounds} acknowledged={acknowledged} lost=0")  # noqa: T201 -- for `make crash`
