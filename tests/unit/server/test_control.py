"""What commands ask a running server for, over the socket in its folder."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from minikube_py.datastore.kv import DatastoreError
from minikube_py.lib.tasks import Nursery
from minikube_py.server.control import NAME, Control, NotRunningError, RefusedError, Told, ask


async def count(call: Told, tell: Callable[[Told], None]) -> Told:
    for n in range(call["to"]):
        tell({"n": n})
    return {"counted": call["to"]}


async def fail(_call: Told, _tell: Callable[[Told], None]) -> Told:
    raise DatastoreError("the disk is full")


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    deep = tmp_path / ("deep" * 20) / ("deeper" * 20)
    deep.mkdir(mode=0o700, parents=True)
    async with Nursery("test") as nursery:
        control = Control(deep, {"count": count, "fail": fail})
        nursery.start("control", control.run())
        while not (deep / NAME).is_socket():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
        yield deep
        await nursery.cancel()
    assert not (deep / NAME).exists()


async def asked(folder: Path, verb: str, **arguments: object) -> list[Told]:
    return [told async for told in ask(folder, verb, **arguments)]


async def test_an_answer_says_how_far_it_is_and_what_came_of_it(folder: Path) -> None:
    assert await asked(folder, "count", to=2) == [{"n": 0}, {"n": 1}, {"counted": 2}]
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("verb", "problem"), [("fail", "the disk is full"), ("fly", "does not know 'fly'")]
)
async def test_a_refusal_says_why(folder: Path, verb: str, problem: str) -> None:
    with pytest.raises(RefusedError, match=problem):
        await asked(folder, verb)


async def test_where_no_server_runs_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError):
        await asked(tmp_path, "count", to=1)
    (tmp_path / NAME).touch()
    with pytest.raises(NotRunningError):
        await asked(tmp_path, "count", to=1)
