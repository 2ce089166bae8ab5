"""`kpy security report`: the CIS Kubernetes Benchmark, item by item, as this machine measures."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import click

from minikube_py.agent.config import NodeConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.lib.errors import StartError
from minikube_py.server.config import ServerConfig

COLOURS = {"PASS": "green", "FAIL": "red", "WARN": "yellow", "N/A": "bright_black"}


def report(**given: Any) -> None:
    """Print each item with what was measured; status 1 where one fails."""
    from minikube_py.cli.benchmark import ITEMS  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.cli.benchmark.machine import Machine  # noqa: PLC0415

    server, node, _ = load(ServerConfig, NodeConfig, ProgramConfig, given=given)
    if not (server.data_dir / "server" / "tls").is_dir():
        raise StartError(f"no server has run in {server.data_dir}; pass its --data-dir")
    machine = Machine(*told(server, node))
    if not machine.is_running:
        raise StartError(
            f"nothing answers on port {machine.server.https_listen_port}; start `kpy server` first"
        )
    states: Counter[str] = Counter()
    for item in ITEMS:
        state, why = item.look(machine)
        states[state] += 1
        mark = click.style(f"{state:4}", fg=COLOURS[state])
        click.echo(f"{mark} {item.number:7} {item.title}: {why}")
    click.echo(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    if states["FAIL"]:
        raise SystemExit(1)


def told(server: ServerConfig, node: NodeConfig) -> tuple[ServerConfig, NodeConfig]:
    """Return the options of the server that runs on this data dir, as its process has them."""
    try:
        pid = (server.data_dir / "server" / ".lock").read_text().strip()
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return server, node
    words = [os.fsdecode(word) for word in line if word]
    if "server" not in words:
        return server, node
    from minikube_py.cli.server import command as server_command  # noqa: PLC0415
    from minikube_py.server.profile import applied  # noqa: PLC0415

    arguments = words[words.index("server") + 1 :]
    context = server_command.make_context("server", arguments, resilient_parsing=True)
    variables = dict(os.fsdecode(pair).partition("=")[::2] for pair in environ if pair)
    config = context.params.get("config") or variables.get("KPY_CONFIG")
    given = {**context.params, "config": config}
    found_server, found_node, _ = load(
        ServerConfig, NodeConfig, ProgramConfig, given=given, environ=variables
    )
    return applied(found_server), found_node


command = click.Group(
    "security",
    help="Look at how safe this machine and its cluster are.",
    commands=[
        click.Command(
            "report",
            callback=report,
            params=[p for p in parameters(ServerConfig) if p.name in ("data_dir", "config")],
            help="Print the CIS Kubernetes Benchmark, item by item, with what was measured.",
        )
    ],
)
