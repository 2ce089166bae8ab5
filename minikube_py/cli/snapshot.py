"""`kpy snapshot`: backups of the cluster, made, listed, restored and removed.

Where the server runs it makes the snapshot, since the database is its own; where it does not, the
command opens the datastore by itself. The verbs are those of `k3s etcd-snapshot`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.loading import Place
from minikube_py.datastore.snapshots.saving import END, Found, remove_partials, snapshots_in
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import FolderLock, make_dir
from minikube_py.server import control
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member.layout import find_restorer, is_managed
from minikube_py.server.snapshots.bucket import Bucket
from minikube_py.server.snapshots.restoring import Restore, for_member
from minikube_py.server.snapshots.retention import ON_DEMAND
from minikube_py.server.snapshots.service import Snapshots, check, passphrase_of

HINT = (
    "it holds the keys of the cluster and nothing seals it: keep it where only you can read it, or"
    " pass --snapshot-passphrase-file"
)
OPTIONS = ("data_dir", "config", "encryption_provider_config", "cluster_init")
PREFIXES = ("snapshot_", "datastore_")


def place_of(config: ServerConfig) -> Place:
    """Return the datastore that a server's options name."""
    return Place(config.datastore_endpoint, config.data_dir, config.datastore_tls)


async def save(config: ServerConfig, name: str) -> None:
    """Make a snapshot, by the server where one runs."""
    folder = config.data_dir / "server"
    if not folder.exists():
        raise StartError(f"there is no {folder}; start `kpy server` first, or pass its --data-dir")
    try:
        path, revision = await _saved_by_server(config, name)
    except control.NotRunningError:
        path, revision = await _saved_here(config, folder, name)
    click.echo(f"saved {path} at revision {revision}")
    if not config.snapshot_passphrase_file:
        click.echo(HINT, err=True)


def _absolute(folder: str) -> str:
    """Return a folder as the server knows it, who may be somewhere else."""
    return str(Path(folder).resolve()) if folder else ""


async def _saved_by_server(config: ServerConfig, name: str) -> tuple[str, int]:
    own = bool(config.snapshot_s3_bucket)
    folder = _absolute(config.snapshot_dir)
    told: Any = {}
    async for told in control.ask(
        config.data_dir / "server",
        "snapshot",
        kind=name,
        folder=folder,
        passphrase=passphrase_of(config),
        upload=not own,
    ):
        if "keys" in told:
            click.echo(f"{told['keys']} keys", err=True)
    if own:
        await Bucket(config).upload(Path(told["path"]))
    return told["path"], told["revision"]


async def _saved_here(config: ServerConfig, folder: Path, name: str) -> tuple[str, int]:
    place = place_of(config)
    if is_managed(config):
        raise StartError("the server's member of etcd does not run; start `kpy server` first")
    if place.file is not None and not place.file.exists():
        raise StartError(f"there is no {place.file}; start `kpy server` first")
    lock = FolderLock(folder)
    try:
        backend = await place.open()
        try:
            snapshots = Snapshots(config, backend, SystemClock())
            manifest, path = await snapshots.save(name)
        finally:
            await backend.close()
    finally:
        lock.release()
    return str(path), manifest.revision


async def show(config: ServerConfig) -> None:
    """Print the snapshots here and in the bucket, the newest last."""
    folder = config.snapshot_folder
    rows = [_row(one, str(one.path.parent)) for one in _here(folder)]
    if config.snapshot_s3_bucket:
        bucket = Bucket(config)
        rows += [_row(one, f"s3://{bucket.name}") for one in await bucket.list()]
    for line in table((HEAD, *rows)):
        click.echo(line)


HEAD = ("NAME", "CREATED", "REVISION", "KEYS", "SIZE", "SEALED", "WHERE")


def _here(folder: Path) -> Sequence[Found]:
    return snapshots_in(folder) if folder.exists() else ()


def _row(one: Found, where: str) -> tuple[str, ...]:
    made = one.manifest
    if made is None:
        return one.path.stem, "damaged", "-", "-", _size(one.size_bytes), "-", where
    numbers = str(made.revision), str(made.keys), _size(one.size_bytes)
    sealed = "no" if made.sealed is None else "yes"
    return one.path.stem, f"{made.moment:%Y-%m-%dT%H:%M:%SZ}", *numbers, sealed, where


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f}Mi" if count >= 1 << 20 else f"{count / 1024:.0f}Ki"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "   ".join(cells).rstrip()


async def restore(
    config: ServerConfig, what: str, bump_revision: int | None, *, force: bool
) -> None:
    """Put a snapshot in the place of what is there."""
    if bump_revision is not None and bump_revision < 0:
        raise StartError("--bump-revision must not be negative: revisions never go back")
    path, place = await _found(config, what), place_of(config)
    if is_managed(config) and not config.datastore_endpoint:
        find_restorer(config.data_dir)
        place = for_member(config.data_dir)
    restoring = Restore(path, place, passphrase_of(config), force=force, bump=bump_revision)
    done = await restoring.run(SystemClock())
    made = done.manifest
    click.echo(
        f"restored {made.keys} keys of {made.created} at revision {made.revision};"
        f" the cluster goes on at revision {done.revision}"
    )
    if done.moved is not None:
        click.echo(f"what was there before is in {done.moved}")
    click.echo("start `kpy server` now")


async def _found(config: ServerConfig, what: str) -> Path:
    """Return the file of a snapshot: one of that path, that name, or that name in the bucket."""
    folder = config.snapshot_folder
    for path in (Path(what), folder / what, folder / f"{what}{END}"):
        if path.is_file():
            return path
    if not config.snapshot_s3_bucket:
        raise StartError(
            f"there is no snapshot {what!r}; `kpy snapshot ls` prints those in {folder}"
        )
    return await Bucket(config).download(what.removesuffix(END), make_dir(folder))


async def prune(config: ServerConfig, name: str) -> None:
    """Remove snapshots of a kind beyond the retention, and what was never finished."""
    folder = config.snapshot_folder
    if folder.exists():
        remove_partials(folder)
    for gone in await Snapshots(config, _NOTHING, SystemClock()).prune(name):
        click.echo(f"removed {gone}")


async def verify(config: ServerConfig, what: str) -> None:
    """Read a snapshot whole and say whether it is what was written."""
    from minikube_py.datastore.snapshots import file  # noqa: PLC0415 -- one of several verbs

    path = await _found(config, what)
    manifest = await asyncio.to_thread(file.verify, path, passphrase_of(config))
    click.echo(f"{path} is whole: {manifest.keys} keys at revision {manifest.revision}")


_NOTHING: Any = None
"""Removing needs no datastore."""
Verb = Callable[..., Coroutine[Any, Any, None]]


def _command(name: str, verb: Verb, text: str, *more: click.Parameter) -> click.Command:
    names = tuple(one.name for one in more)

    def run(**given: Any) -> None:
        arguments = {key: given.pop(key) for key in names if key is not None}
        config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given=given)
        check(replace(config, snapshot_schedule_cron=""))
        try:
            asyncio.run(verb(config, **arguments))
        except DatastoreError as error:
            raise StartError(str(error)) from error

    known = [
        one
        for one in parameters(ServerConfig)
        if one.name in OPTIONS or str(one.name).startswith(PREFIXES)
    ]
    return click.Command(name, callback=run, params=[*more, *known], help=text)


def _name(text: str) -> click.Parameter:
    return click.Option(["--name"], default=ON_DEMAND, show_default=True, help=text)


_WHAT = click.Argument(["what"], metavar="NAME|FILE")
_BUMP = click.Option(
    ["--bump-revision"],
    type=int,
    help="how many revisions later than the snapshot the cluster goes on  [default: 1000000000;"
    " 1000000 in an etcd that runs, where each is a write]",
)
_FORCE = click.Option(["--force"], is_flag=True, help="move aside what is there")
command = click.Group(
    "snapshot",
    help="Back the cluster up, and restore it.",
    commands=[
        _command("save", save, "Make a snapshot now.", _name("what its name begins with")),
        _command("ls", show, "List the snapshots."),
        _command("verify", verify, "Read a snapshot whole and compare its digests.", _WHAT),
        _command(
            "restore", restore, "Restore a snapshot; no server may run.", _WHAT, _BUMP, _FORCE
        ),
        _command(
            "prune",
            prune,
            "Remove the oldest snapshots of this machine beyond --snapshot-retention.",
            _name("what their names begin with"),
        ),
    ],
)
