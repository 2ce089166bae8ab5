"""`kpy datastore copy`: move a cluster from one datastore to another while no server runs."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.datastore.copying import copy
from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.loading import Place
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import FolderLock
from minikube_py.server.config import ServerConfig

OPTIONS = (
    "data_dir",
    "config",
    "datastore_cafile",
    "datastore_certfile",
    "datastore_keyfile",
)
STEP_KEYS = 10_000
"""Keys between two lines that say how far it is."""


def run(source: str, target: str, bump_revision: int, **given: Any) -> None:
    """Copy, and say what came of it."""
    config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given=given)
    origin, goal = (Place(one, config.data_dir, config.datastore_tls) for one in (source, target))
    if bump_revision < 0:
        raise StartError("--bump-revision must not be negative: revisions never go back")
    try:
        with _stopped(config):
            copied = asyncio.run(copy(origin, goal, _told(), bump=bump_revision))
    except DatastoreError as error:
        raise StartError(str(error)) from error
    size = copied.value_bytes / (1 << 20)
    click.echo(f"copied {copied.keys} keys, {size:.1f} MiB, sha256 {copied.digest}")
    click.echo(f"read back and found the same; the copy goes on at revision {copied.revision}")
    if not goal.keeps_revisions:
        click.echo("it has revisions of its own: clients that watch will list anew", err=True)


@contextlib.contextmanager
def _stopped(config: ServerConfig) -> Iterator[None]:
    """Keep the server of this machine from running meanwhile."""
    folder = config.data_dir / "server"
    lock = FolderLock(folder) if folder.exists() else None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


class _told:  # noqa: N801 -- a function that remembers
    """Says how far it is."""

    def __init__(self) -> None:
        self._next = STEP_KEYS

    def __call__(self, keys: int) -> None:
        if keys >= self._next:
            self._next += STEP_KEYS
            click.echo(f"{keys} keys", err=True)


command = click.Command(
    "copy",
    callback=run,
    params=[
        click.Argument(["source"], metavar="FROM"),
        click.Argument(["target"], metavar="TO"),
        click.Option(
            ["--bump-revision"],
            type=int,
            default=0,
            show_default=True,
            metavar="NUMBER",
            help="how far the copy's revision is above the original's",
        ),
        *(one for one in parameters(ServerConfig) if one.name in OPTIONS),
    ],
    help="Copy a datastore into an empty one: sqlite://[PATH] (alone: the data dir's own), "
    "postgres://... or mysql://... Stop all servers first.",
)
