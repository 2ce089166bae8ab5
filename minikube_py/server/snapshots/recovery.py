"""A database that is damaged is replaced by the newest good snapshot, and everybody is told.

The damaged files are moved aside. What was written after the snapshot is lost, and said to be: in
the log, as an event, and in `recovery.json`, which `kpy check` prints. A mark beside the database
says that a recovery has begun; as long as it is there the next start begins it again.
"""

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from minikube_py.datastore import damage
from minikube_py.datastore.kv import Backend, DamagedError, DatastoreError
from minikube_py.datastore.loading import BUMP, Place, check, load
from minikube_py.datastore.open import open_backend, sqlite_path
from minikube_py.datastore.snapshots.file import read
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import flush_dir, make_dir, write_atomic
from minikube_py.server.config import ServerConfig
from minikube_py.server.encryption import configuration as encryption
from minikube_py.server.encryption.files import CONFIGURATION, STATE, Files
from minikube_py.server.snapshots.finding import files_in, newest_good
from minikube_py.server.snapshots.restoring import keys_of, unused
from minikube_py.server.snapshots.service import passphrase_of

log = logging.getLogger(__name__)
RECORD = "recovery.json"
"""In the folder of the server."""


@dataclass(frozen=True)
class Recovered:
    """What was recovered from, and what was lost."""

    at: str
    problem: str
    snapshot: str
    created: str
    """Of the snapshot: what was written later is lost."""
    revision: int
    moved: str
    """Where the damaged files are."""

    @property
    def message(self) -> str:
        """Return what everybody is told."""
        return (
            f"{self.problem}; it was replaced by snapshot {self.snapshot}:"
            f" everything written after {self.created} is lost; the damaged files are in"
            f" {self.moved}"
        )


async def opened(
    config: ServerConfig, clock: Clock, lazy_prefixes: Sequence[str]
) -> tuple[Backend, str]:
    """Open the datastore of a server; return it with what is to be told of its recovery, or "".

    Raises:
        StartError: it cannot be used, or is damaged and cannot be recovered.

    """
    path = sqlite_path(config.datastore_endpoint, config.data_dir)
    try:
        _refuse_lost(config, path)
        return await _opened(config, clock, lazy_prefixes), ""
    except DamagedError as error:
        if path is None:
            raise StartError(str(error)) from error
        recovered = await recover(config, path, error, clock)
    except DatastoreError as error:
        raise StartError(f"{error}; pods run on until the server can start") from error
    return await _opened(config, clock, lazy_prefixes), recovered.message


async def _opened(config: ServerConfig, clock: Clock, lazy_prefixes: Sequence[str]) -> Backend:
    return await open_backend(
        config.datastore_endpoint,
        data_dir=config.data_dir,
        lazy_prefixes=lazy_prefixes,
        retention=config.retention,
        tls=config.datastore_tls,
        clock=clock,
    )


def _refuse_lost(config: ServerConfig, path: Path | None) -> None:
    """Take a file without anything in it for damaged where the server has run before."""
    has_run = (config.data_dir / "server" / STATE).exists()
    if path is not None and has_run and path.exists() and path.stat().st_size == 0:
        raise DamagedError(f"datastore {path}: it is empty")


async def recover(config: ServerConfig, path: Path, error: DamagedError, clock: Clock) -> Recovered:
    """Replace the damaged database in a file by the newest good snapshot.

    Raises:
        StartError: there is none.

    """
    server = config.data_dir / "server"
    log.error("%s", error)
    chosen = await newest_good(config, server)
    if chosen is None:
        raise StartError(
            f"{error}; there is no good snapshot of this cluster in {_places(config)}."
            " Bring one there, or restore one: kpy snapshot restore FILE --force"
        )
    snapshot, manifest = chosen
    damage.mark(path, damage.RECOVERING)
    good = Path(f"{path}.recovering")
    place = Place(f"sqlite://{good}", config.data_dir)
    await asyncio.to_thread(_remove, good)
    passphrase = passphrase_of(config)
    revision = manifest.revision + BUMP
    written = await load(place, keys_of(read(snapshot, passphrase), None), revision)
    await check(place, written, revision)
    await asyncio.to_thread(_take_keys, config, server, snapshot, passphrase)
    now = clock.now()
    aside = unused(path.with_name("damaged"), int(now.timestamp()))
    await asyncio.to_thread(_exchange, path, good, aside)
    done = Recovered(
        now.isoformat(timespec="seconds"),
        str(error),
        manifest.name,
        manifest.created,
        manifest.revision,
        str(aside),
    )
    write_atomic(server / RECORD, json.dumps(asdict(done), indent=1).encode())
    damage.mark_of(path).unlink(missing_ok=True)
    log.error("%s", done.message)
    return done


def _places(config: ServerConfig) -> str:
    bucket = config.snapshot_s3_bucket
    return f"{config.snapshot_folder}{f' and in bucket {bucket}' if bucket else ''}"


def _remove(path: Path) -> None:
    """Remove the database that a recovery which was cut off has left."""
    for end in damage.PARTS:
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _take_keys(config: ServerConfig, server: Path, snapshot: Path, passphrase: str) -> None:
    """Be able to read what was sealed with keys that have been dropped since the snapshot."""
    files = Files.of(server, config.encryption_provider_config)
    stored = files_in(snapshot, passphrase).get(CONFIGURATION)
    if not files.own or stored is None or not files.configuration.exists():
        return
    with files.changing():
        current, earlier = files.read()[0], encryption.read(stored)
        rules = tuple(_with_earlier(rule, earlier) for rule in current.rules)
        if rules != current.rules:
            files.write(replace(current, rules=rules))
        files.state.unlink(missing_ok=True)  # every value is looked at again


def _with_earlier(rule: encryption.Rule, earlier: encryption.Configuration) -> encryption.Rule:
    known = [
        one
        for other in earlier.rules
        if set(other.resources) & set(rule.resources)
        for one in other.sealers
    ]
    more = [one for one in known if one not in rule.sealers]
    return replace(rule, sealers=(*rule.sealers, *more))


def _exchange(path: Path, good: Path, aside: Path) -> None:
    """Put the good file in the place of the damaged one, which moves aside with its log.

    The log goes first: it must never be applied to the new file. Whatever is cut off here is begun
    again because of the mark.
    """
    make_dir(aside)
    for end in reversed(damage.PARTS):
        part = path.with_name(f"{path.name}{end}")
        if part.exists():
            os.link(part, aside / part.name) if not end else part.rename(aside / part.name)
    flush_dir(aside)
    good.replace(path)
    flush_dir(path.parent)
