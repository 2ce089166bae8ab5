"""Scripts of commands and what they must answer, the same on every backend.

A file in testdata/ is a list of blocks: commands, `----`, the expected answers, an empty line.
`make golden` (KPY_GOLDEN=1) writes the answers of the model into the files.
"""

import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend, DatastoreError, Event, KeyValue

SCRIPTS = sorted((Path(__file__).parent / "testdata").glob("*.txt"))
GOLDEN = os.environ.get("KPY_GOLDEN") == "1"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
async def test_the_script_is_answered_as_written(backend: Backend, script: Path) -> None:
    answered = "\n".join([block async for block in _play(backend, script.read_text())])  # noqa: ASYNC240
    assert answered == _golden(script, answered)


def _golden(script: Path, answered: str) -> str:
    if GOLDEN:
        script.write_text(answered)
    return script.read_text()


async def _play(backend: Backend, text: str) -> AsyncIterator[str]:
    for block in text.strip().split("\n\n"):
        commands = block.split("\n----")[0].splitlines()
        answers = [answer for line in commands for answer in await _answers(backend, line)]
        yield "\n".join([*commands, "----", *answers]) + "\n"


async def _answers(backend: Backend, line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    try:
        return [str(answer) for answer in await _do(backend, words)] if words else []
    except DatastoreError as error:
        return [f"{type(error).__name__}: {error}"]


async def _do(backend: Backend, words: list[str]) -> list[object]:
    verb, *rest = words
    revision = next((int(word[1:]) for word in rest if word.startswith("@")), 0)
    match verb, [word for word in rest if not word.startswith("@")]:
        case "create" | "update" | "delete", [key, *value]:
            return [await _write(backend, verb, key, "".join(value).encode(), revision)]
        case "get", [key]:
            return [_show(await backend.get(key))]
        case "list", [prefix, *options]:
            return await _list(backend, prefix, options, revision)
        case "watch", [prefix, "after", after, "until", until]:
            return await _watch(backend, prefix, int(after), int(until))
        case "compact", []:
            return [await backend.compact(revision) or "ok"]
        case "revision", []:
            return [await backend.revision()]
    raise AssertionError(f"no such command: {words}")


async def _write(backend: Backend, verb: str, key: str, value: bytes, revision: int) -> int:
    match verb:
        case "create":
            return await backend.create(key, value)
        case "update":
            return await backend.update(key, value, revision=revision)
    return await backend.delete(key, revision=revision)


async def _list(backend: Backend, prefix: str, options: list[str], at: int) -> list[object]:
    given = dict(zip(options[::2], options[1::2], strict=True))
    limit = int(given.get("limit", 0))
    page = await backend.list(prefix, after=given.get("after", ""), limit=limit, revision=at)
    tail = f" more={page.remaining}" if page.more else ""
    return [*map(_show, page.items), f"at {page.revision}{tail}"]


async def _watch(backend: Backend, prefix: str, after: int, until: int) -> list[object]:
    shown: list[object] = []
    async for events in backend.watch(prefix, after=after):
        shown += map(_show, events)
        if events[-1].revision >= until:
            return shown
    raise AssertionError("a watch ended by itself")


def _show(found: KeyValue | Event | None) -> str:
    if found is None:
        return "none"
    value = found.value.decode()
    verb = ""
    if isinstance(found, Event):
        verb = "DELETE " if found.deleted else "PUT "
    return f"{verb}{found.key} {value} @{found.revision} created @{found.create_revision}"
