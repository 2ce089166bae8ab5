"""`kpy datastore`: look at a datastore, and move it to another backend.

A subcommand is a module of its own; this one lists them and imports each when it is called.
"""

import importlib
from collections.abc import Mapping

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    "stats": ("datastore_stats", "show its size, its history and what it writes a day"),
    "copy": ("datastore_copy", "copy a datastore into an empty one"),
}
"""Name -> module below `minikube_py.cli` with a `command`, and what it does."""


class Subcommands(click.Group):
    """The subcommands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one subcommand."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"minikube_py.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing any."""
        del ctx
        rows = [(name, text) for name, (_, text) in COMMANDS.items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


command = Subcommands("datastore", help="Look at the datastore, and move it to another backend.")
