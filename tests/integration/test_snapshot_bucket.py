"""Snapshots in an object store: there and back, and what goes wrong on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.snapshots.errors import SnapshotError
from minikube_py.datastore.snapshots.file import verify
from minikube_py.lib.clock import SystemClock
from minikube_py.server.config import ServerConfig
from minikube_py.server.snapshots.bucket import Bucket
from minikube_py.server.snapshots.service import Snapshots
from tests.integration.amazon import REGION, Amazon
from tests.ports import free_port


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    made = Amazon(tmp_path_factory.mktemp("amazon") / "log")
    yield made
    made.close()


def config(folder: Path, url: str, bucket: str = "backups") -> ServerConfig:
    (folder / "server").mkdir(exist_ok=True)
    return ServerConfig(
        data_dir=folder,
        snapshot_retention=2,
        snapshot_s3_bucket=bucket,
        snapshot_s3_endpoint=url,
        snapshot_s3_region=REGION,
        snapshot_s3_folder="/a/cluster/",
        snapshot_s3_access_key="testing",
        snapshot_s3_secret_key="top-secret",
    )


async def test_snapshots_go_to_the_bucket_and_come_back(amazon: Amazon, tmp_path: Path) -> None:
    amazon.client("s3").create_bucket(Bucket="backups")
    told = config(tmp_path, amazon.url)
    made, bucket = Snapshots(told, MemoryBackend(), SystemClock(), node="n"), Bucket(told)
    names = [(await made.save("scheduled"))[0].name for _ in range(3)]
    amazon.client("s3").put_object(Bucket="backups", Key="a/cluster/photo.tar", Body=b"holiday")
    amazon.client("s3").put_object(Bucket="backups", Key="elsewhere/x.tar", Body=b"others'")
    found = await bucket.list()
    assert [one.path.stem for one in found] == ["photo", *names]
    assert [one.manifest is None for one in found] == [True, False, False, False]
    assert await made.prune("scheduled") == [names[0], f"s3://backups/{names[0]}"]
    assert [one.path.stem for one in await bucket.list()] == ["photo", *names[1:]]
    (tmp_path / "back").mkdir()
    path = await bucket.download(names[1], tmp_path / "back")
    assert verify(path).name == names[1]
    assert path.read_bytes() == (tmp_path / "snapshots" / path.name).read_bytes()
    with pytest.raises(SnapshotError, match="Not Found"):
        await bucket.download("nothing", tmp_path / "back")
    assert [one.name for one in (tmp_path / "back").iterdir()] == [path.name]


async def test_a_snapshot_stays_here_where_the_bucket_cannot_be_reached(
    amazon: Amazon, tmp_path: Path
) -> None:
    for told in (
        config(tmp_path, amazon.url, "nowhere"),
        config(tmp_path, f"http://127.0.0.1:{free_port()}"),
    ):
        made = Snapshots(told, MemoryBackend(), SystemClock(), node="n")
        with pytest.raises(SnapshotError, match="is saved, but not copied") as caught:
            await made.save("on-demand")
        assert "top-secret" not in str(caught.value)
        assert any('result="failure"} 1' in line for line in made.tallies.lines())
    assert len(list((tmp_path / "snapshots").iterdir())) == 2
