"""Sources of static pods: a folder that changes, a URL that answers or does not."""

import asyncio
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from minikube_py.agent.kubelet.static.sources import FILES_MAX, Folder, Url
from minikube_py.lib.clock import SystemClock


def text(name: str, **spec: Any) -> str:
    container = {"name": "c", "image": "busybox:1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
    return yaml.safe_dump(pod | {"spec": {"containers": [container], **spec}})


class Taken:
    """Keeps what a source handed over last."""

    def __init__(self) -> None:
        self.names: list[str] | None = None
        self.changed = asyncio.Event()

    def __call__(self, pods: Any) -> None:
        self.names = sorted(pod["metadata"]["name"] for pod in pods.values())
        self.changed.set()

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(20):
            while self.names != sorted(names):
                self.changed.clear()
                await self.changed.wait()


async def test_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    (tmp_path / ".hidden").write_text(text("hidden"))
    (tmp_path / "folder").mkdir()
    taken = Taken()
    following = asyncio.create_task(Folder(tmp_path, "n1", taken).run())
    try:
        await taken.until("a-n1")
        (tmp_path / "b.json").write_text(text("b"))
        await taken.until("a-n1", "b-n1")
        (tmp_path / "a.yaml").unlink()
        await taken.until("b-n1")
    finally:
        following.cancel()


async def test_a_manifest_that_cannot_be_read_changes_nothing(tmp_path: Path, caplog: Any) -> None:
    taken = Taken()
    folder = Folder(tmp_path, "n1", taken)
    (tmp_path / "a.yaml").write_text(text("a"))
    (tmp_path / "b.yaml").write_text(text("b"))
    await folder.look()
    (tmp_path / "a.yaml").write_text("{")
    await folder.look()
    await folder.look()
    assert taken.names == ["a-n1", "b-n1"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert f"file={tmp_path}/a.yaml error=yaml: line 1" in told[0]


async def test_a_folder_is_read_up_to_a_bound(tmp_path: Path) -> None:
    taken = Taken()
    for number in range(FILES_MAX + 2):
        (tmp_path / f"{number:04}.yaml").write_text(text(f"p{number}"))
    await Folder(tmp_path, "n1", taken).look()
    assert len(taken.names or ()) == FILES_MAX


async def test_a_url_is_asked_with_its_headers_and_its_failures_change_nothing() -> None:
    answers = [web.Response(text=text("a")), web.Response(status=500), web.Response(text="")]
    seen: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers.get("X-Edge", ""))
        return answers.pop(0) if answers else web.Response(text=text("b"))

    class Quick(SystemClock):
        async def sleep(self, seconds: float) -> None:
            assert seconds == 20
            await asyncio.sleep(0)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    taken = Taken()
    url = Url(f"http://127.0.0.1:{port}/pods", {"X-Edge": "yes"}, "n1", taken, Quick())
    asking = asyncio.create_task(url.run())
    try:
        await taken.until("a-n1")
        await taken.until("b-n1")
        assert set(seen) == {"yes"}
    finally:
        asking.cancel()
        await asyncio.wait([asking])
        await runner.cleanup()
