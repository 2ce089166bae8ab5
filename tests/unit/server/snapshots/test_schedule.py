"""When snapshots are made, in virtual time, and what a failure is told as."""

from pathlib import Path
from typing import Any

import pytest

from minikube_py.api.core import EVENTS
from minikube_py.client.events import Recorder
from minikube_py.datastore.kv import UnavailableError
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.lib.errors import StartError
from minikube_py.lib.tasks import Nursery
from minikube_py.server.config import ServerConfig
from minikube_py.server.snapshots.service import Snapshots, check
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, virtual

HOUR = 3600


class Noted(Snapshots):
    """Notes when it would make one; real files take real time."""

    away = False

    def __init__(self, clock: VirtualClock, cron: str) -> None:
        super().__init__(ServerConfig(snapshot_schedule_cron=cron), MemoryBackend(), clock)
        self.did: list[str] = []

    async def save(self, kind: str, **_: Any) -> Any:
        if self.away:
            raise UnavailableError("the datastore is away")
        self.did.append(f"{self.clock.now():%d %H:%M} {kind}")

    async def prune(self, kind: str) -> list[str]:
        self.did.append(f"prune {kind}")
        return []


@virtual
async def test_snapshots_are_made_when_the_schedule_says() -> None:
    clock = VirtualClock()
    made = Noted(clock, "30 */12 * * *")
    async with Nursery("test") as nursery:
        events = Recorder(ModelCluster(clock).client(), "kpy", clock)
        nursery.start("snapshots", made.run(events))
        await clock.sleep(24 * HOUR)
        await nursery.cancel()
    times = ["01 00:30 scheduled", "01 12:30 scheduled"]
    assert made.did == [word for time in times for word in (time, "prune scheduled")]


@virtual
async def test_a_snapshot_that_fails_is_told_and_the_next_is_made() -> None:
    clock = VirtualClock()
    made, cluster = Noted(clock, "@hourly"), ModelCluster(clock)
    made.away = True
    async with Nursery("test") as nursery:
        events = Recorder(cluster.client("kpy"), "kpy", clock)
        nursery.start("events", events.run())
        nursery.start("snapshots", made.run(events))
        await clock.sleep(HOUR + 60)
        made.away = False
        await clock.sleep(HOUR)
        await nursery.cancel()
    assert made.did == ["01 02:00 scheduled", "prune scheduled"]
    (event,) = cluster.objects(EVENTS)
    assert event["reason"] == "SnapshotFailed"
    assert "the datastore is away" in event["message"]


@virtual
async def test_a_schedule_without_a_time_makes_none() -> None:
    clock = VirtualClock()
    made = Noted(clock, "0 0 31 2 *")
    async with Nursery("test") as nursery:
        events = Recorder(ModelCluster(clock).client(), "kpy", clock)
        nursery.start("snapshots", made.run(events))
        await clock.sleep(24 * HOUR)
        await nursery.cancel()
    assert made.did == []


async def test_the_oldest_of_a_kind_go_and_what_others_made_stays(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    config = ServerConfig(data_dir=tmp_path, snapshot_retention=2)
    clock = VirtualClock()
    here = Snapshots(config, MemoryBackend(), clock, node="here")
    there = Snapshots(config, MemoryBackend(), clock, node="there")
    names = [(await here.save("scheduled"))[0].name for _ in range(4)]
    kept = [(await one.save(kind))[0].name for one, kind in ((here, "other"), (there, "scheduled"))]
    (tmp_path / "snapshots" / "scheduled-here-1.tar").write_bytes(b"damaged")
    assert await here.prune("scheduled") == names[:2]
    left = {path.stem for path in (tmp_path / "snapshots").iterdir()}
    assert left == {*names[2:], *kept, "scheduled-here-1"}
    assert await here.prune("scheduled") == []
    counted = list(here.tallies.lines())
    assert 'kpy_snapshots_total{kind="scheduled",result="success"} 4' in counted
    assert any("kpy_snapshot_last_keys" in line for line in here.lines())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"snapshot_schedule_cron": "at noon"}, "--snapshot-schedule-cron: expected exactly 5"),
        ({"snapshot_retention": 0}, "--snapshot-retention must be at least 1"),
        ({"snapshot_passphrase_file": "/nowhere"}, "--snapshot-passphrase-file /nowhere has none"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartError, match=problem):
        check(ServerConfig(**options))


async def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    made = Snapshots(ServerConfig(data_dir=tmp_path), MemoryBackend(), VirtualClock())
    with pytest.raises(StartError, match="cannot be a name"):
        await made.save("../../etc/passwd")
