"""`kpy datastore stats`: how large a running server's datastore is, and what it writes."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from minikube_py.lib.errors import StartError

Told = Mapping[str, Any]
IDLE_BYTES_A_DAY = 50 * 10**6
"""What an idle node may write."""


@click.command("stats")
@click.option("--data-dir", type=Path, default=None, help="the server's folder")
@click.option("--output", "-o", default="", type=click.Choice(["", "json"]))
def command(data_dir: Path | None, output: str) -> None:
    """Show the size of the datastore, its history, its kinds, and what it writes a day."""
    told = asyncio.run(_asked(data_dir))
    if output:
        import orjson  # noqa: PLC0415 -- `--help` stays light

        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    for line in lines(told):
        click.echo(line)


async def _asked(data_dir: Path | None) -> Told:
    from minikube_py.agent.config import AgentConfig  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.cli.config import ProgramConfig, load  # noqa: PLC0415
    from minikube_py.server.config import ServerConfig  # noqa: PLC0415
    from minikube_py.server.control import NotRunningError, ask  # noqa: PLC0415

    given = {} if data_dir is None else {"data_dir": (str(data_dir),)}
    config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given=given)
    try:
        async for told in ask(config.data_dir / "server", "stats"):
            return told
    except NotRunningError as error:
        raise StartError(f"no server runs on {config.data_dir}; start it first") from error
    raise StartError("the server said nothing")


def lines(told: Told) -> Iterator[str]:
    """Yield what is printed."""
    from minikube_py.cli.versions import table  # noqa: PLC0415 -- `--help` stays light

    yield from (f"{name:<18} {value}" for name, value in _facts(told))
    yield ""
    rows = [("OPERATION", "COUNT", "P50", "P99")]
    rows += [
        (one["operation"], str(one["count"]), _below(one["p50"]), _below(one["p99"]))
        for one in told["latencies"]
    ]
    yield from table(rows)
    yield ""
    kinds = [("KIND", "COUNT", "SIZE")]
    kinds += [(k["resource"], str(k["count"]), size(k["bytes"])) for k in told["kinds"]]
    yield from table(kinds)


def _facts(told: Told) -> Iterator[tuple[str, str]]:
    history, effort = told["history"], told["effort"]
    yield "backend", told["backend"]
    if told["files"]:
        yield "file", size(told["files"].get("file", 0))
        yield "write-ahead log", size(told["files"].get("writeAheadLog", 0))
    yield "live", f"{told['objects']} objects, {size(told['objectBytes'])}"
    if told["rows"] is not None:
        yield "rows", f"{told['rows']}, old versions included"
    yield "revision", str(history["revision"])
    kept = f"{size(history['bytes'])} of {size(history['mostBytes'])}"
    yield "history", f"{kept}, from revision {history['oldest']}{_since(history['oldestTime'])}"
    yield (
        "since the start",
        f"{effort['seconds'] / 3600:.1f} h, {effort['commits']} commits, an fsync each",
    )
    if effort["writtenBytes"] is not None:
        a_day = effort["writtenBytesADay"]
        yield "written", f"{size(effort['writtenBytes'])}, at this rate {size(a_day)} a day"
        yield "idle budget", f"{size(IDLE_BYTES_A_DAY)} a day"


def _since(at: float) -> str:
    return f" ({datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ})" if at else ""


def _below(seconds: float | None) -> str:
    return "more" if seconds is None else f"< {seconds * 1000:g} ms"


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
