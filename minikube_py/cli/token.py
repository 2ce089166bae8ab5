"""`kpy token`: what an agent joins with."""

from typing import Any

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there
from minikube_py.server.config import ServerConfig


def run(**given: Any) -> None:
    """Print the join token of the server on this machine."""
    config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given=given)
    path = config.data_dir / "server" / "token"
    token = read_if_there(path)
    if token is None:
        raise StartError(f"there is no {path}; start `kpy server` first, or pass its --data-dir")
    click.echo(token.decode().strip())


command = click.Command(
    "token",
    callback=run,
    params=[p for p in parameters(ServerConfig) if p.name in ("data_dir", "config")],
    help="Print the token that agents join with: `kpy agent --server URL --token TOKEN`.",
)
