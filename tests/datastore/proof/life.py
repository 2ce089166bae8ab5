"""A process that writes to a store until somebody ends it, and tells what it is told.

`python -m tests.datastore.proof.life --help`
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import sqlite3
from pathlib import Path

from minikube_py.datastore import sql, sqlite
from minikube_py.datastore.kv import Backend, UnavailableError
from minikube_py.datastore.open import open_backend
from tests.datastore.proof.clients import AGAIN_SECONDS, compact_now_and_then, crowd, follow
from tests.datastore.proof.history import Line, Tell

LAZY = "/lazy/"
BEHIND = 60
"""Revisions of history that stay."""
SMALL_WAL_PAGES = 20
SMALL_FREE_PAGES = 4
"""With these checkpoints and vacuums come all the time."""


async def beat(backend: Backend, tell: Tell, key: str) -> None:
    """Update a heartbeat for ever; a crash may lose it, but not its revision."""
    revision = 0
    for n in itertools.count():
        try:
            if revision:
                revision = await backend.update(key, str(n).encode(), revision=revision)
            else:
                revision = await backend.create(key, b"0")
            tell({"beat": revision})
        except UnavailableError:
            await asyncio.sleep(AGAIN_SECONDS)
            found = await backend.get(key)
            revision = found.revision if found else 0


async def live(options: argparse.Namespace) -> None:
    """Open the store, and let clients and watchers use it side by side."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    out = os.open(options.lines, flags, 0o600) if options.lines else 1

    def tell(line: Line) -> None:
        os.write(out, json.dumps(line).encode() + b"\n")

    backend = await open_backend(options.endpoint, data_dir=options.data_dir, lazy_prefixes=(LAZY,))
    after = await backend.revision() if options.after is None else options.after
    choose = random.Random(options.seed)  # noqa: S311
    async with asyncio.TaskGroup() as group:
        for n in range(2):
            group.create_task(follow(backend, tell, f"{options.seed}-watch-{n}", after=after))
        if not options.keep:
            group.create_task(compact_now_and_then(backend, BEHIND, choose))
        group.create_task(beat(backend, tell, f"{LAZY}{options.seed}"))
        work = crowd(
            (backend,),
            tell,
            clients=options.clients,
            steps=options.steps,
            seed=options.seed,
            size=options.size,
        )
        await work
        tell({"ended": True})
        os._exit(0)


def prepare_differently(*pragmas: str) -> None:
    """Let every connection that is opened have other settings, too."""
    connect = sql._connect

    def connected(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    sql._connect = connected


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--data-dir", type=Path, default=Path("/nonexistent"))
    parser.add_argument("--lines", default="", help="the file for the lines; standard output")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--steps", type=int, help="of each client; endless")
    parser.add_argument("--after", type=int, help="where watches go on; now")
    parser.add_argument("--size", type=int, default=0, help="of values, in bytes")
    parser.add_argument("--keep", action="store_true", help="do not compact")
    parser.add_argument("--restless", action="store_true", help="checkpoint and vacuum often")
    parser.add_argument("--careless", action="store_true", help="do not wait for the disk")
    options = parser.parse_args()
    if options.restless:
        prepare_differently(f"wal_autocheckpoint = {SMALL_WAL_PAGES}", "journal_size_limit = 0")
        sqlite.FREE_PAGES_KEPT = SMALL_FREE_PAGES
        sqlite.SHRINK_PAGES = SMALL_FREE_PAGES
    if options.careless:
        prepare_differently("synchronous = OFF")
    asyncio.run(live(options))


if __name__ == "__main__":
    main()
