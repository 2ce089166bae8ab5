"""A server joins a cluster of etcd though it is cut off after each of its steps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.lib.clock import SystemClock
from minikube_py.server import cluster_material
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member import joining, restored, run
from minikube_py.server.etcd_member.layout import Layout, layout_of
from minikube_py.server.preparation import prepared
from tests.integration.conftest import Server
from tests.integration.conftest import running as server_running
from tests.ports import free_port

CLOCK = SystemClock()
STEPS_MIN = 12
"""Files of the authority, the answer, certificates, etcd, its vote, the keys of the cluster."""


class CutError(Exception):
    """The machine lost its power here."""


def config_of(data_dir: Path, **told: Any) -> ServerConfig:
    ports = {"etcd_client_port": free_port(), "etcd_peer_port": free_port()}
    return ServerConfig(data_dir=data_dir, bind_address="127.0.0.1", **ports, **told)


@contextlib.asynccontextmanager
async def first(folder: Path) -> AsyncIterator[Server]:
    """Run a server that others may join."""
    config = config_of(folder, cluster_init=True)
    async with run.running(config, CLOCK, lambda _: None) as applied:
        own = {
            name: getattr(applied, name)
            for name in (
                "cluster_init",
                "datastore_endpoint",
                "datastore_cafile",
                "datastore_certfile",
                "datastore_keyfile",
            )
        }
        async with server_running(folder, **own) as server:
            yield server


class Cuts:
    """Counts the steps of an attempt on one machine; its power goes at one of them."""

    def __init__(self, machine: Path) -> None:
        self._machine = str(machine)
        self.at = 0
        self.count = 0

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise CutError

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function with a step before it and one after it."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self._machine not in repr(arguments):
                return real(*arguments, **named)
            self.step()
            result = real(*arguments, **named)
            self.step()
            return result

        return wrapped

    def around_waiting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same for a function that is awaited."""

        async def wrapped(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = await real(*arguments, **named)
            self.step()
            return result

        return wrapped


async def kill(process: asyncio.subprocess.Process) -> None:
    """End etcd as a power cut does."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def test_a_server_that_is_cut_off_after_each_step_of_its_joining_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first(tmp_path / "one") as server:
        cuts = Cuts(tmp_path / "two")
        monkeypatch.setattr(joining, "write_atomic", cuts.around(joining.write_atomic))
        monkeypatch.setattr(Layout, "certify", cuts.around(Layout.certify))
        monkeypatch.setattr(run.Member, "ready", cuts.around_waiting(run.Member.ready))
        monkeypatch.setattr(run.Member, "_promote", cuts.around_waiting(run.Member._promote))
        keep = cuts.around(cluster_material.write_atomic)
        monkeypatch.setattr(cluster_material, "write_atomic", keep)
        monkeypatch.setattr(run, "_end", kill)
        config = config_of(
            tmp_path / "two",
            server=server.url,
            token=server.app.bootstrap.token,
            advertise_address="192.0.2.11",
        )
        cut = True
        while cut:
            cuts.at, cuts.count = cuts.at + 1, 0
            try:
                async with run.running(config, CLOCK, lambda _: None) as applied:
                    material = await prepared(applied, CLOCK)
                    cut = False
            except CutError:
                pass
        assert cuts.at > STEPS_MIN
        assert material.cluster_ca.bundle_pem == server.app.bootstrap.cluster_ca.bundle_pem


async def test_a_member_is_made_of_a_snapshot_though_that_is_cut_off_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_of(config_of(tmp_path), "a", ())
    cuts = Cuts(tmp_path)

    async def make(*command: str) -> None:
        target = layout.folder / "data.restoring"
        assert f"--data-dir={target}" in command
        target.mkdir()  # etcd's own program does not use one that is there
        cuts.step()
        (target / "made of").write_bytes(layout.restored.read_bytes())

    monkeypatch.setattr(restored, "_run", make)
    monkeypatch.setattr(restored, "flush_dir", cuts.around(restored.flush_dir))
    for at in range(1, 8):
        layout.restored.write_bytes(b"%d" % at)
        layout.data.mkdir(exist_ok=True)
        cuts.at, cuts.count = at, 0
        with contextlib.suppress(CutError):
            await restored.restored(layout, tmp_path)
        if layout.restored.exists():
            cuts.at = 0
            await restored.restored(layout, tmp_path)
        assert (layout.data / "made of").read_bytes() == b"%d" % at
        assert not layout.restored.exists()
    assert cuts.count < 7
