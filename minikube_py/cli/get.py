"""`kpy get KIND [NAME] --at TIME`: how things were. Without `--at` it is `kubectl get`."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from minikube_py.cli.looking_back import Kind, connected, kind_and_name, kind_of, moment
from minikube_py.lib.errors import StartError

if TYPE_CHECKING:
    from minikube_py.client.http import HttpClient

AT = "--at"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PAGE = 500


@dataclass(frozen=True)
class Asked:
    """What is to be shown, and how."""

    namespace: str
    all_namespaces: bool
    at: str
    output: str
    selector: str


@click.command(
    "get",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Show objects as they were at a time or revision (--at), or run kubectl get without it."""
    if not any(one == AT or one.startswith(f"{AT}=") for one in arguments):
        from minikube_py.cli.kubectl import command as kubectl  # noqa: PLC0415

        context.invoke(kubectl, arguments=("get", *arguments))
    else:
        at_command.main(list(arguments), prog_name="kpy get", standalone_mode=False)


@click.command("get")
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME]")
@click.option(AT, required=True, help="a revision, an RFC 3339 time, or 10m for ten minutes ago")
@click.option("--namespace", "-n", default="default", help="namespace of the objects")
@click.option("--all-namespaces", "-A", is_flag=True, help="objects of all namespaces")
@click.option("--selector", "-l", default="", help="labels of the objects of a list")
@click.option("--output", "-o", default="", type=click.Choice(["", "wide", "json", "yaml", "name"]))
@click.option("--kubeconfig", envvar="KUBECONFIG", default="", help="how to reach the cluster")
def at_command(what: tuple[str, ...], kubeconfig: str, **options: Any) -> None:
    """Show objects as they were."""
    asked = Asked(**options)
    kind, name = kind_and_name(what)
    if name and asked.all_namespaces:
        raise StartError("a resource cannot be retrieved by name across all namespaces")
    for line in asyncio.run(_shown(kubeconfig, kind, name, asked)):
        click.echo(line)


async def _shown(kubeconfig: str, word: str, name: str, asked: Asked) -> list[str]:
    async with connected(kubeconfig) as client:
        kind = await kind_of(client, word)
        namespace = "" if asked.all_namespaces else asked.namespace
        path = f"/kpy.io/at{kind.path(namespace, name)}"
        pages = await _pages(client, path, asked)
    return list(_lines(kind, pages, asked))


async def _pages(client: "HttpClient", path: str, asked: Asked) -> list[Any]:
    query = {**moment(asked.at), "limit": str(PAGE)}
    if asked.selector:
        query["labelSelector"] = asked.selector
    accept = TABLE if asked.output in ("", "wide") else ""
    pages: list[Any] = []
    while True:
        page = await client.read(path, query, accept=accept)
        pages.append(page)
        following = page["metadata"].get("continue") if _is_many(page) else ""
        if not following:
            return pages
        query["continue"] = following


def _is_many(page: Any) -> bool:
    return page["kind"] == "Table" or "items" in page


def _lines(kind: Kind, pages: list[Any], asked: Asked) -> Iterator[str]:
    from minikube_py.api import yaml  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.cli.versions import table  # noqa: PLC0415

    if asked.output in ("", "wide"):
        rows = _rows(kind, pages, asked)
        yield from table(rows) if len(rows) > 1 else ["No resources found at that time."]
        return
    items = [one for page in pages for one in (page["items"] if _is_many(page) else [page])]
    if asked.output == "name":
        yield from (f"{kind.plural}/{one['metadata']['name']}" for one in items)
        return
    document = {**pages[0], "items": items} if _is_many(pages[0]) else pages[0]
    yield yaml.dump(document).decode() if asked.output == "yaml" else _json(document)


def _json(document: Any) -> str:
    import orjson  # noqa: PLC0415 -- `--help` stays light

    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _rows(kind: Kind, pages: list[Any], asked: Asked) -> list[list[str]]:
    """Return the rows of the server's tables, the titles first."""
    definitions = pages[0]["columnDefinitions"]
    wanted = [n for n, one in enumerate(definitions) if asked.output or not one["priority"]]
    inside = asked.all_namespaces and kind.namespaced
    rows = [[*(["NAMESPACE"] if inside else []), *(definitions[n]["name"].upper() for n in wanted)]]
    for page in pages:
        for row in page.get("rows") or ():
            where = [row["object"]["metadata"]["namespace"]] if inside else []
            rows.append([*where, *(_cell(row["cells"][n]) for n in wanted)])
    return rows


def _cell(cell: Any) -> str:
    return "<none>" if cell is None else str(cell)
