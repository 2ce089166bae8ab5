"""A group of commands, each in a module that is imported when it is called."""

import importlib
from collections.abc import Mapping
from typing import Any

import click


class Commands(click.Group):
    """A group that knows its commands by name and imports them when they are called."""

    def __init__(
        self, *given: Any, commands_by_name: Mapping[str, tuple[str, str]], **more: Any
    ) -> None:
        """Take name -> module below `minikube_py.cli` with a `command`, and what it does."""
        super().__init__(*given, **more)
        self._commands = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order in which a user meets them."""
        del ctx
        return list(self._commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in self._commands:
            return None
        module = importlib.import_module(f"minikube_py.cli.{self._commands[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._commands.items()])
