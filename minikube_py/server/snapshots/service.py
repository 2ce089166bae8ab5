"""Makes the snapshots of a server: when somebody asks, and when the schedule says so.

Where several servers share a datastore, the one that holds the Lease makes the scheduled ones
(`run` is what is elected), and everyone those that are asked of it.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_py import KUBERNETES_VERSION, __version__
from minikube_py.api import cron
from minikube_py.datastore.kv import Backend, DatastoreError
from minikube_py.datastore.snapshots.errors import SnapshotError
from minikube_py.datastore.snapshots.manifest import Manifest
from minikube_py.datastore.snapshots.saving import (
    END,
    Progress,
    Source,
    save,
    snapshots_in,
)
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there
from minikube_py.lib.prometheus import metric
from minikube_py.lib.tallies import Metric, Tallies
from minikube_py.server.config import ServerConfig
from minikube_py.server.snapshots import material
from minikube_py.server.snapshots.bucket import Bucket
from minikube_py.server.snapshots.retention import SCHEDULED, name_of, outdated

if TYPE_CHECKING:
    from minikube_py.client.events import Recorder  # commands that save have no use for it

log = logging.getLogger(__name__)
SAVES = Metric("kpy_snapshots_total", "Snapshots of the datastore by outcome.", ("kind", "result"))
SECONDS = Metric(
    "kpy_snapshot_duration_seconds",
    "How long snapshots took that were made.",
    ("kind",),
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
SUBJECT = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "kube-system", "uid": "kube-system"},
}
"""What events of the cluster as a whole are about."""


def passphrase_of(config: ServerConfig) -> str:
    """Return the passphrase of snapshots, "" where none is wanted.

    Raises:
        StartError: the file cannot be read or is empty.

    """
    if not config.snapshot_passphrase_file:
        return ""
    data = read_if_there(Path(config.snapshot_passphrase_file))
    text = (data or b"").decode(errors="replace").strip()
    if not text:
        raise StartError(f"--snapshot-passphrase-file {config.snapshot_passphrase_file} has none")
    return text


def check(config: ServerConfig) -> None:
    """Refuse options that cannot work; raises StartError."""
    if config.snapshot_schedule_cron:
        try:
            cron.parse(config.snapshot_schedule_cron)
        except ValueError as error:
            raise StartError(f"--snapshot-schedule-cron: {error}") from error
    if config.snapshot_retention < 1:
        raise StartError("--snapshot-retention must be at least 1")
    if config.snapshot_s3_bucket:
        Bucket(config)
    passphrase_of(config)


@dataclass
class Snapshots:
    """What makes and removes the snapshots of one server."""

    config: ServerConfig
    backend: Backend
    """The datastore as it is stored: what is sealed in it stays so."""
    clock: Clock
    node: str = field(default_factory=socket.gethostname)
    tallies: Tallies = field(default_factory=Tallies)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _last: Manifest | None = None

    async def save(
        self,
        kind: str,
        *,
        folder: Path | None = None,
        passphrase: str = "",
        upload: bool = True,
        progress: Progress = lambda _: None,
    ) -> tuple[Manifest, Path]:
        """Make a snapshot and return it with its file; what is not given is as configured.

        Raises:
            SnapshotError: it was not made, or not copied to the bucket.
            StartError: the options make no sense.

        """
        folder = make_dir(folder or self.config.snapshot_folder)
        source = Source(self.backend, self._files, passphrase or passphrase_of(self.config))
        began = self.clock.monotonic()
        result = "failure"
        try:
            async with self._one:
                about = self._about(kind, folder)
                manifest = await save(source, folder, about, progress)
                path = folder / f"{manifest.name}{END}"
                if upload and self.config.snapshot_s3_bucket:
                    await self._upload(path)
            result = "success"
        finally:
            self.tallies.count(SAVES, kind, result)
        self.tallies.observe(SECONDS, self.clock.monotonic() - began, kind)
        self._last = manifest
        return manifest, path

    async def _upload(self, path: Path) -> None:
        try:
            await (await asyncio.to_thread(Bucket, self.config)).upload(path)
        except SnapshotError as error:
            raise SnapshotError(
                f"{path} is saved, but not copied to the bucket: {error}"
            ) from error

    def _files(self) -> Mapping[str, bytes]:
        config = self.config
        return material.read(config.data_dir / "server", config.encryption_provider_config)

    def _about(self, kind: str, folder: Path) -> Manifest:
        now = self.clock.now()
        seconds = int(now.timestamp())
        while (folder / f"{name_of(kind, self.node, seconds)}{END}").exists():
            seconds += 1
        return Manifest(
            name=name_of(kind, self.node, seconds),
            created=now.isoformat(timespec="milliseconds"),
            node=self.node,
            revision=0,
            kpy=__version__,
            kubernetes=KUBERNETES_VERSION,
        )

    async def prune(self, kind: str) -> list[str]:
        """Remove this server's snapshots of a kind beyond the retention; return their names.

        Raises:
            SnapshotError: the bucket cannot be used.

        """
        keep, gone = self.config.snapshot_retention, []
        folder = self.config.snapshot_folder
        here = await asyncio.to_thread(snapshots_in, folder) if folder.exists() else ()
        for one in outdated(here, kind, self.node, keep):
            one.path.unlink(missing_ok=True)
            gone.append(one.path.stem)
        if self.config.snapshot_s3_bucket:
            bucket = await asyncio.to_thread(Bucket, self.config)
            for one in outdated(await bucket.list(), kind, self.node, keep):
                await bucket.remove(one.path.stem)
                gone.append(f"s3://{bucket.name}/{one.path.stem}")
        if gone:
            log.info("snapshots removed names=%s", ",".join(gone))
        return gone

    async def run(self, events: "Recorder") -> None:
        """Make scheduled snapshots; never returns."""
        schedule = cron.parse(self.config.snapshot_schedule_cron)
        while True:
            moment = schedule.next(self.clock.now())
            if moment is None:
                await asyncio.Event().wait()
            else:
                await self._at(moment, events)

    async def _at(self, moment: datetime, events: "Recorder") -> None:
        await self.clock.until(moment)
        if self.clock.now() < moment:
            return  # the clock was set
        try:
            await self.save(SCHEDULED)
            await self.prune(SCHEDULED)
        except (DatastoreError, StartError) as error:
            log.error("scheduled snapshot failed: %s", error)  # noqa: TRY400 -- no fault of ours
            events.record(SUBJECT, "Warning", "SnapshotFailed", f"scheduled snapshot: {error}")

    def lines(self) -> Iterator[str]:
        """Yield what is known of the last snapshot, for Prometheus."""
        if self._last is not None:
            for name, meaning, value in (
                ("last_success_timestamp_seconds", "When the last", self._last.moment.timestamp()),
                ("last_size_bytes", "Bytes of the last", self._last.content_bytes),
                ("last_keys", "Keys in the last", self._last.keys),
            ):
                text = f"{meaning} snapshot."
                yield from metric(f"kpy_snapshot_{name}", "gauge", text, (({}, value),))

    async def asked(
        self, call: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        """Make a snapshot that a command asks for (`control`)."""
        told = time.monotonic()

        def progress(keys: int) -> None:
            nonlocal told
            if time.monotonic() - told >= 1:
                told = time.monotonic()
                tell({"keys": keys})

        folder = Path(call["folder"]) if call.get("folder") else None
        manifest, path = await self.save(
            str(call.get("kind", "")),
            folder=folder,
            passphrase=str(call.get("passphrase", "")),
            upload=bool(call.get("upload", True)),
            progress=progress,
        )
        return {"path": str(path), "revision": manifest.revision}
