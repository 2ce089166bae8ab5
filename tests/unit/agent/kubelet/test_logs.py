"""Container logs are cut, stamped and followed as upstream's kubelet does it."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet import logs
from minikube_py.lib.inotify import Inotify

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
LOG = (
    b"2026-11-22T07:00:00.1Z stdout F one\n"
    b"2026-11-22T07:00:01.000000002Z stderr F two\n"
    b"2026-11-22T07:00:02Z stdout P thr\n"
    b"2026-11-22T07:00:02.5Z stdout F ee\n"
    b"not a line of this format\n"
    b"2026-11-22T10:00:03+02:00 stdout F four\n"
)


async def read(path: Path, **query: str) -> bytes:
    options = logs.parse_options(query, NOW)
    return b"".join([part async for part in logs.read_log(path, options)])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    return path


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, b"one\ntwo\nthree\nfour\n"),
        ({"stream": "Stderr"}, b"two\n"),
        ({"tailLines": "0"}, b""),
        ({"tailLines": "1"}, b"four\n"),
        ({"tailLines": "3"}, b"ee\nfour\n"),
        ({"tailLines": "99"}, b"one\ntwo\nthree\nfour\n"),
        ({"tail": "all"}, b"one\ntwo\nthree\nfour\n"),
        ({"limitBytes": "6"}, b"one\ntw"),
        ({"sinceTime": "2026-11-22T07:00:01Z"}, b"two\nthree\nfour\n"),
        ({"sinceSeconds": "1"}, b"four\n"),
        ({"sinceSeconds": "1", "sinceTime": "2026-11-22T09:00:00Z"}, b""),
        (
            {"timestamps": "true", "tailLines": "5"},
            (
                b"2026-11-22T07:00:01.000000002Z two\n"
                b"2026-11-22T07:00:02.000000000Z three\n"
                b"2026-11-22T10:00:03.000000000+02:00 four\n"
            ),
        ),
    ],
)
async def test_a_log_is_cut_as_asked(log: Path, query: dict[str, str], shown: bytes) -> None:
    assert await read(log, **query) == shown


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "-1"},
        {"tailLines": "x"},
        {"limitBytes": "0"},
        {"sinceSeconds": "0"},
        {"sinceTime": "yesterday"},
        {"stream": "stdin"},
    ],
)
def test_options_out_of_range_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        logs.parse_options(query, NOW)


@given(lines=st.lists(st.binary(max_size=9), max_size=30), count=st.integers(0, 35))
def test_the_tail_of_a_file_is_its_last_lines_whatever_the_block_size(
    lines: list[bytes], count: int
) -> None:
    kept = [line.replace(b"\n", b"") + b"\n" for line in lines]
    data = b"".join(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "CHUNK_BYTES", 7)
        offset = logs.tail_offset(io.BytesIO(data), count)
    assert data[offset:] == b"".join(kept[-count:] if count else [])


def test_a_timestamp_gets_nine_digits_and_keeps_its_zone() -> None:
    assert logs.fixed_width(b"2026-11-22T07:00:00Z") == b"2026-11-22T07:00:00.000000000Z"
    assert logs.fixed_width(b"2026-11-22T07:00:00.25-08:00") == (
        b"2026-11-22T07:00:00.250000000-08:00"
    )


class Container:
    """A follower whose container a test ends."""

    def __init__(self, inotify: Inotify) -> None:
        self.inotify = inotify
        self.alive = True
        self.event: asyncio.Event | None = None
        self.asked = 0

    @contextlib.contextmanager
    def changes(self, folder: Path) -> Iterator[asyncio.Event]:
        with self.inotify.folder(folder) as self.event:
            yield self.event

    async def running(self) -> bool:
        self.asked += 1
        return self.alive

    def end(self) -> None:
        self.alive = False
        if self.event is not None:
            self.event.set()


@pytest.fixture
async def container() -> AsyncIterator[Container]:
    inotify = Inotify()
    yield Container(inotify)
    inotify.close()


async def following(path: Path, container: Container) -> AsyncIterator[bytes]:
    options = logs.LogOptions(follow=True)
    async for part in logs.read_log(path, options, container):
        yield part


def append(path: Path, *words: str) -> None:
    with path.open("ab") as file:
        for word in words:
            file.write(f"2026-11-22T07:00:09Z stdout F {word}\n".encode())


def rotate(path: Path) -> None:
    path.rename(path.with_suffix(".log.1"))


async def test_a_followed_log_shows_what_comes_until_the_container_ends(
    log: Path, container: Container
) -> None:
    async with asyncio.timeout(5):
        parts = following(log, container)
        assert (await anext(parts)).endswith(b"four\n")
        append(log, "five")
        assert await anext(parts) == b"five\n"
        append(log, "six")
        container.end()
        assert [part async for part in parts] == [b"six\n"]


async def test_a_log_that_nobody_writes_to_is_not_looked_at(
    log: Path, container: Container
) -> None:
    parts = following(log, container)
    await anext(parts)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(parts), 0.3)
    assert container.asked == 1


async def test_a_followed_log_goes_on_in_the_new_file_after_a_rotation(
    log: Path, container: Container
) -> None:
    async with asyncio.timeout(5):
        parts = following(log, container)
        await anext(parts)
        append(log, "last of the old")
        rotate(log)
        append(log, "first of the new")
        assert await anext(parts) == b"last of the old\n"
        assert await anext(parts) == b"first of the new\n"
        container.end()
        assert [part async for part in parts] == []


async def test_a_line_that_is_being_written_is_shown_when_it_is_whole(
    log: Path, container: Container
) -> None:
    async with asyncio.timeout(5):
        parts = following(log, container)
        await anext(parts)
        for piece in (b"2026-11-22T07:00:09Z std", b"out F cut in two\n"):
            with log.open("ab") as file:
                file.write(piece)
            await asyncio.sleep(0.02)
        assert await anext(parts) == b"cut in two\n"


async def test_two_followers_of_one_folder_both_hear_and_leave_nothing_behind(
    tmp_path: Path, container: Container
) -> None:
    inotify = container.inotify
    with inotify.folder(tmp_path) as one:
        with inotify.folder(tmp_path) as other:
            (tmp_path / "a").touch()
            async with asyncio.timeout(5):
                await one.wait()
                await other.wait()
        one.clear()
        (tmp_path / "b").touch()
        async with asyncio.timeout(5):
            await one.wait()
    assert not inotify._waiting


async def test_a_folder_that_is_removed_wakes_its_followers(
    tmp_path: Path, container: Container
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with container.inotify.folder(folder) as changed:
        folder.rmdir()
        async with asyncio.timeout(5):
            await changed.wait()
