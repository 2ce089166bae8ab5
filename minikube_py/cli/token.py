"""`kpy token`: what machines join with, and bootstrap tokens, as `k3s token` has them."""

import asyncio
import base64
import re
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from minikube_py.agent.config import AgentConfig, NodeConfig
from minikube_py.api import times
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.object import Obj, get
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.cli.security import told
from minikube_py.client.protocol import Client
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there
from minikube_py.server import join_tokens
from minikube_py.server.config import ServerConfig
from minikube_py.server.join_tokens import JOIN_GROUP

T = TypeVar("T")
NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
PREFIX = "bootstrap-token-"
USAGES = ("authentication", "signing")
_ALPHABET = string.digits + string.ascii_lowercase
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_ID = re.compile(r"([a-z0-9]{6})(\.[a-z0-9]{16})?", re.ASCII)
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)
COLUMNS = ("TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS")


def run(**given: Any) -> None:
    """Print the join token of the server on this machine."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    config = _config(given)
    path = config.data_dir / "server" / join_tokens.TOKEN
    token = read_if_there(path)
    if token is None:
        raise StartError(f"there is no {path}; start `kpy server` first, or pass its --data-dir")
    click.echo(token.decode().strip())


def rotate(*, new_token: str, **given: Any) -> None:
    """Make another join token and print it."""
    server, _ = told(_config(given), NodeConfig())
    click.echo(join_tokens.rotate(server.data_dir / "server", new_token))
    if server.token:
        click.echo("--token of the server counts no more; leave it out at the next start", err=True)


def create(**given: Any) -> None:
    """Make a bootstrap token and print it."""
    token = given["token"] or f"{_random(6)}.{_random(16)}"
    secret = secret_of(
        token,
        description=given["description"],
        usages=_listed(given["usages"]),
        groups=_listed(given["groups"]),
        expires=expiry(given["ttl"], datetime.now(UTC)),
    )

    async def write(client: Client) -> None:
        from minikube_py.api.core import SECRETS  # noqa: PLC0415 -- `--help` stays light

        await client.create(SECRETS, secret)

    _with_client(_config(given), write)
    click.echo(token)


def show(**given: Any) -> None:
    """List the bootstrap tokens."""

    async def read(client: Client) -> list[Obj]:
        from minikube_py.api.core import SECRETS  # noqa: PLC0415

        selector = f"type={TYPE}"
        found = await client.list(SECRETS, NAMESPACE, field_selector=selector)
        return [item.obj for item in found.items]

    found = _with_client(_config(given), read)
    now = datetime.now(UTC)
    rows = [COLUMNS, *sorted(row_of(secret, now) for secret in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        line = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(line).rstrip())


def delete(*, tokens: Sequence[str], **given: Any) -> None:
    """Delete bootstrap tokens by their ids or in whole."""
    names = [f"{PREFIX}{_id(token)}" for token in tokens]

    async def remove(client: Client) -> None:
        from minikube_py.api.core import SECRETS  # noqa: PLC0415

        for name in names:
            try:
                await client.delete(SECRETS, name, NAMESPACE)
            except NotFoundError:
                shown = name.removeprefix(PREFIX)
                raise StartError(f"there is no bootstrap token {shown!r}") from None

    _with_client(_config(given), remove)
    for name in names:
        click.echo(f"bootstrap token {name.removeprefix(PREFIX)!r} deleted")


def secret_of(
    token: str,
    *,
    description: str,
    usages: Sequence[str],
    groups: Sequence[str],
    expires: datetime | None,
) -> dict[str, Any]:
    """Return the Secret of a bootstrap token.

    Raises:
        StartError: the token, a usage or a group cannot be one.

    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise StartError(
            "the token is not of the form abcdef.0123456789abcdef; leave it out to get one"
        )
    for usage in usages:
        if usage not in USAGES:
            raise StartError(f"--usages {usage!r} is none of {', '.join(USAGES)}")
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise StartError(f"--groups {group!r} must begin with system:bootstrappers:")
    data = {
        "token-id": match[1],
        "token-secret": match[2],
        "description": description,
        "expiration": times.format_seconds(expires) if expires else "",
        "auth-extra-groups": ",".join(groups),
        **{f"usage-bootstrap-{usage}": "true" for usage in usages},
    }
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in sorted(data.items()) if v}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{PREFIX}{match[1]}", "namespace": NAMESPACE},
        "type": TYPE,
        "data": encoded,
    }


def expiry(ttl: str, now: datetime) -> datetime | None:
    """Return when a token ends; never for "0".

    Raises:
        StartError: it is no duration.

    """
    try:
        seconds = times.parse_duration(ttl)
    except ValueError:
        seconds = -1.0
    if seconds < 0:
        raise StartError(f"--ttl {ttl!r} is no duration such as 24h0m0s, or 0 for no end")
    return now + timedelta(seconds=seconds) if seconds else None


def row_of(secret: Obj, now: datetime) -> tuple[str, ...]:
    """Return what is listed of a token; its secret is not."""
    data = {
        key: base64.b64decode(value).decode(errors="replace")
        for key, value in get(secret, "data", {}).items()
    }
    expires = data.get("expiration", "")
    usages = [usage for usage in USAGES if data.get(f"usage-bootstrap-{usage}") == "true"]
    return (
        data.get("token-id", "<invalid>"),
        _left(expires, now),
        expires or "<never>",
        ",".join(usages) or "<none>",
        data.get("description", "") or "<none>",
        data.get("auth-extra-groups", "") or "<none>",
    )


def _left(expires: str, now: datetime) -> str:
    if not expires:
        return "<forever>"
    try:
        seconds = int((times.parse(expires) - now).total_seconds())
    except ValueError:
        return "<invalid>"
    return f"{seconds // 3600}h{seconds // 60 % 60}m" if seconds > 0 else "<expired>"


def _id(token: str) -> str:
    match = _ID.fullmatch(token)
    if match is None:
        raise StartError("give a token's id of six characters, or the whole token")
    return match[1]


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _config(given: Mapping[str, Any]) -> ServerConfig:
    config: ServerConfig = load(ServerConfig, AgentConfig, ProgramConfig, given=given)[0]
    return config


def _with_client(config: ServerConfig, act: Callable[[Client], Awaitable[T]]) -> T:
    """Do something as the administrator of the server on this machine."""
    from minikube_py.client import kubeconfig  # noqa: PLC0415
    from minikube_py.client.http import HttpClient  # noqa: PLC0415

    server, _ = told(config, NodeConfig())
    try:
        client = HttpClient(kubeconfig.load(server.write_kubeconfig))
    except kubeconfig.KubeconfigError as error:
        raise StartError(f"{error}; start `kpy server` first") from error

    async def main() -> T:
        try:
            return await act(client)
        finally:
            await client.close()

    try:
        return asyncio.run(main())
    except StatusError as error:
        raise StartError(str(error)) from error


def _place() -> list[click.Parameter]:
    return [p for p in parameters(ServerConfig) if p.name in ("data_dir", "config")]


def _text(flag: str, default: str, text: str) -> click.Option:
    return click.Option([flag], default=default, metavar="TEXT", help=text, show_default=True)


command = click.Group(
    "token",
    callback=run,
    invoke_without_command=True,
    params=_place(),
    help="Print the token that agents join with: `kpy agent --server URL --token TOKEN`.",
    commands=[
        click.Command(
            "create",
            callback=create,
            params=[
                click.Argument(["token"], default=""),
                _text("--description", "", "what the token is for"),
                _text("--groups", JOIN_GROUP, "groups of who comes with it"),
                _text("--ttl", "24h0m0s", "how long it is good; 0 for ever"),
                _text("--usages", "signing,authentication", "what it is for"),
                *_place(),
            ],
            help="Make a bootstrap token and print it.",
        ),
        click.Command("list", callback=show, params=_place(), help="List the bootstrap tokens."),
        click.Command(
            "delete",
            callback=delete,
            params=[click.Argument(["tokens"], nargs=-1, required=True), *_place()],
            help="Delete bootstrap tokens, by their ids or in whole.",
        ),
        click.Command(
            "rotate",
            callback=rotate,
            params=[
                _text("--new-token", "", "the secret of the new token (default: a fresh one)"),
                *_place(),
            ],
            help="Make another join token; nodes that have joined stay, others need the new one.",
        ),
    ],
)
