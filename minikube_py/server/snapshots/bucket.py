"""Snapshots in an object store that speaks S3.

boto3 works in threads and checks what it sends; a file that has arrived is looked at once more.
What a snapshot is stands at its beginning, so listing a bucket reads that much of each.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from minikube_py.datastore.snapshots.errors import SnapshotError
from minikube_py.datastore.snapshots.file import CONTENT_AT, manifest_of
from minikube_py.datastore.snapshots.saving import END, Found, partial
from minikube_py.lib.errors import StartError
from minikube_py.server.config import ServerConfig

CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 60, 4
T = TypeVar("T")


class Bucket:
    """The folder of a bucket."""

    def __init__(self, config: ServerConfig) -> None:
        """Find the library; the store is not asked yet.

        Raises:
            StartError: boto3 is not installed, or the options make no sense.

        """
        try:
            import boto3  # noqa: PLC0415 -- optional, and a second to import
            from botocore.config import Config  # noqa: PLC0415
            from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        except ImportError as error:
            raise StartError(
                "--snapshot-s3-bucket needs boto3; install it with pip install 'kpy[aws]'"
            ) from error
        self.name = config.snapshot_s3_bucket
        self._folder = f"{config.snapshot_s3_folder.strip('/')}/".lstrip("/")
        settings = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
        )
        try:
            self._client: Any = boto3.client(
                "s3",
                region_name=config.snapshot_s3_region or None,
                endpoint_url=config.snapshot_s3_endpoint or None,
                aws_access_key_id=config.snapshot_s3_access_key or None,
                aws_secret_access_key=config.snapshot_s3_secret_key or None,
                config=settings,
            )
        except (BotoCoreError, ValueError) as error:
            raise StartError(f"--snapshot-s3-bucket cannot be used: {error}") from error

    async def upload(self, path: Path) -> None:
        """Copy a snapshot into the bucket; raises SnapshotError."""

        def work() -> None:
            key = self._folder + path.name
            self._client.upload_file(str(path), self.name, key)
            size = self._client.head_object(Bucket=self.name, Key=key)["ContentLength"]
            if size != path.stat().st_size:
                raise SnapshotError(f"only {size} bytes of {path.name} have arrived")

        await self._do(work)

    async def download(self, name: str, folder: Path) -> Path:
        """Copy a snapshot of that name into a folder; raises SnapshotError."""

        def work() -> Path:
            path = folder / f"{name}{END}"
            with partial(folder, name) as (file, whole):
                self._client.download_fileobj(self.name, f"{self._folder}{name}{END}", file)
                file.flush()
                whole.replace(path)
            return path

        return await self._do(work)

    async def remove(self, name: str) -> None:
        """Remove a snapshot of that name; raises SnapshotError."""
        key = f"{self._folder}{name}{END}"
        await self._do(lambda: self._client.delete_object(Bucket=self.name, Key=key))

    async def list(self) -> Sequence[Found]:
        """Return the snapshots, the newest last; raises SnapshotError."""

        def work() -> list[Found]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=self._folder, Delimiter="/"
            )
            objects = [one for page in pages for one in page.get("Contents", ())]
            return [self._look(one) for one in objects if one["Key"].endswith(END)]

        found = await self._do(work)
        return sorted(found, key=lambda one: one.manifest.created if one.manifest else "")

    def _look(self, stored: Any) -> Found:
        """Read the beginning of an object."""
        path = Path(stored["Key"].rpartition("/")[2])
        answer = self._client.get_object(
            Bucket=self.name, Key=stored["Key"], Range=f"bytes=0-{CONTENT_AT - 1}"
        )
        with contextlib.closing(answer["Body"]) as body:
            head = body.read()
        try:
            return Found(path, stored["Size"], manifest_of(head))
        except SnapshotError as error:
            return Found(path, stored["Size"], None, str(error))

    async def _do(self, work: Callable[[], T]) -> T:
        """Do some work in a thread; its failures become SnapshotErrors that show no secrets."""

        def guarded() -> T:
            with self._failures():
                return work()

        return await asyncio.to_thread(guarded)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            why = told.get("Message") or told.get("Code") or "refused"
            raise SnapshotError(f"bucket {self.name}: {why}") from error
        except (BotoCoreError, Boto3Error, OSError) as error:
            raise SnapshotError(f"bucket {self.name}: {error}") from error
