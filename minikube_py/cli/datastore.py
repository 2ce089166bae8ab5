"""`kpy datastore`: look at a datastore, and move it to another backend.

A subcommand is a module of its own; this one lists them and imports each when it is called.
"""

from collections.abc import Mapping

from minikube_py.cli.commands import Commands

COMMANDS: Mapping[str, tuple[str, str]] = {
    "stats": ("datastore_stats", "show its size, its history and what it writes a day"),
    "copy": ("datastore_copy", "copy a datastore into an empty one"),
}
"""Name -> module below `minikube_py.cli` with a `command`, and what it does."""


command = Commands(
    "datastore",
    commands_by_name=COMMANDS,
    help="Look at the datastore, and move it to another backend.",
)
