"""`kpy history KIND NAME`: who changed what and when, as the server's datastore remembers it."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from minikube_py.cli.looking_back import Kind, connected, kind_and_name, kind_of, moment
from minikube_py.lib.errors import StartError

if TYPE_CHECKING:
    from minikube_py.client.http import HttpClient

Item = Mapping[str, Any]
LIMIT = 20
COLUMNS = ("TIME", "REVISION", "EVENT", "VERB", "USER", "CHANGED")


@dataclass(frozen=True)
class Asked:
    """What is to be shown, and how."""

    namespace: str
    limit: int
    since: str
    output: str
    diff: bool
    values: bool


@click.command("history")
@click.argument("what", nargs=-1, required=True, metavar="KIND NAME")
@click.option("--namespace", "-n", default="default", help="namespace of the object")
@click.option("--limit", default=LIMIT, help="versions that are shown, the newest first; 0: all")
@click.option("--since", default="", help="nothing older than this: a time, or 10m for ago")
@click.option("--diff", is_flag=True, help="show what each write changed")
@click.option("--values", is_flag=True, help="show the values of secrets")
@click.option("--output", "-o", default="", type=click.Choice(["", "wide", "json", "yaml"]))
@click.option("--kubeconfig", envvar="KUBECONFIG", default="", help="how to reach the cluster")
def command(what: tuple[str, ...], kubeconfig: str, **options: Any) -> None:
    """Show who changed an object, when and what, also where it is gone by now."""
    kind, name = kind_and_name(what)
    if not name:
        raise StartError("the history is that of one object; say KIND NAME")
    asyncio.run(_shown(kubeconfig, kind, name, Asked(**options)))


async def _shown(kubeconfig: str, word: str, name: str, asked: Asked) -> None:
    async with connected(kubeconfig) as client:
        kind = await kind_of(client, word)
        found = [item async for item in _versions(client, kind, name, asked)]
    shown = found[: asked.limit] if asked.limit else found
    befores: Sequence[Item | None] = [*found[1:], None]
    pairs = [pair for pair in zip(shown, befores, strict=False) if _is_since(pair[0], asked.since)]
    for line in lines(pairs, asked, colours=sys.stdout.isatty()):
        click.echo(line)


async def _versions(
    client: "HttpClient", kind: Kind, name: str, asked: Asked
) -> AsyncIterator[Item]:
    """Yield the versions, newest first, and the one before the last that is shown."""
    query = {"values": "true"} if asked.values else {}
    wanted = asked.limit + 1 if asked.limit else sys.maxsize
    path = f"/kpy.io/history{kind.path(asked.namespace, name)}"
    while wanted > 0:
        page = await client.read(path, {**query, "limit": str(min(wanted, 100))})
        for item in page["items"]:
            yield item
            if not _is_since(item, asked.since):
                return
        wanted -= len(page["items"])
        query["before"] = page["metadata"]["continue"]
        if not query["before"]:
            return


def _is_since(item: Item, since: str) -> bool:
    return not since or not item["time"] or item["time"] >= _start(since)


def _start(since: str) -> str:
    from minikube_py.api import times  # noqa: PLC0415 -- `--help` stays light

    asked = moment(since)
    try:
        if "time" in asked:
            return times.format_seconds(times.parse(asked["time"]))
        seconds = times.parse_duration(asked.get("ago", ""))
    except ValueError as error:
        raise StartError(
            f"--since {since!r} is no time; say 10m or 2006-01-02T15:04:05Z"
        ) from error
    return times.format_seconds(datetime.now(UTC) - timedelta(seconds=seconds))


def lines(
    pairs: Sequence[tuple[Item, Item | None]], asked: Asked, *, colours: bool
) -> Iterator[str]:
    """Yield what is printed of versions and the ones before them."""
    from minikube_py.api import yaml  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.cli import versions  # noqa: PLC0415

    if asked.output in ("json", "yaml"):
        items = [item for item, _ in pairs]
        document = {"apiVersion": "kpy.io/v1", "kind": "History", "items": items}
        yield yaml.dump(document).decode() if asked.output == "yaml" else _json(document)
    elif asked.diff:
        yield from itertools.chain.from_iterable(_diff(*pair, colours=colours) for pair in pairs)
    else:
        head = (*COLUMNS, "MANAGER") if asked.output == "wide" else COLUMNS
        yield from versions.table([head, *(_row(*pair, asked.output) for pair in pairs)])


def _json(document: Any) -> str:
    import orjson  # noqa: PLC0415 -- `--help` stays light

    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _row(item: Item, before: Item | None, output: str) -> tuple[str, ...]:
    from minikube_py.cli import versions  # noqa: PLC0415 -- `--help` stays light

    below = f"/{item['subresource']}" if item["subresource"] else ""
    row = (
        item["time"] or "<unknown>",
        item["revision"],
        item["event"],
        f"{item['verb']}{below}" or "<unknown>",
        item["user"] or "<unknown>",
        versions.summary(item, before),
    )
    return (*row, versions.manager(item, before)) if output == "wide" else row


def _diff(item: Item, before: Item | None, *, colours: bool) -> Iterator[str]:
    from minikube_py.cli import versions  # noqa: PLC0415 -- `--help` stays light

    row = _row(item, before, "")
    yield " ".join(row[:5])
    if "error" in item:
        yield f"({item['error']})"
    old = None if item["event"] == "Created" else before
    found = versions.difference(item, old)
    yield from versions.coloured(found) if colours else found
    yield ""
