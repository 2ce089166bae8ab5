"""`kpy reset`: the machine is as it was before kpy; what was removed is listed.

Pods are ended, and everything goes: containers, mounts, links, rules, groups, files, the cluster's
data among them. Switches of the kernel (forwarding) stay as they are, others may need them.
"""

import asyncio
from pathlib import Path

import click

from minikube_py.lib.errors import StartError

USERS = ("server", "agent")
"""Folders below the data folder that a running kpy has locked."""


@click.command("reset", help="Remove every trace of kpy: pods, data, network, files.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/kpy"),
    show_default=True,
    help="folder that holds all state",
)
@click.option("--dry-run", is_flag=True, help="only list what there is")
@click.option("--yes", is_flag=True, help="do not ask")
def command(data_dir: Path, *, dry_run: bool, yes: bool) -> None:
    """List, ask, remove, look again."""
    from minikube_py.agent.reset.run import find  # noqa: PLC0415

    require_rights(data_dir)
    found = list(find(data_dir.absolute()))
    if not found:
        click.echo("nothing of kpy is on this machine")
        return
    for trace in found:
        click.echo(f"{trace.kind:20} {trace.name}")
    if dry_run:
        return
    if not yes:
        click.confirm(f"Remove these {len(found)} and all that is in them?", abort=True)
    remove(data_dir.absolute())


def require_rights(data_dir: Path) -> None:
    """Refuse where kpy runs or this is not root.

    Raises:
        StartError: names the cause and the remedy.

    """
    import os  # noqa: PLC0415

    from minikube_py.lib.fsutil import FolderLock  # noqa: PLC0415

    if os.geteuid() != 0:
        raise StartError("a reset needs root; run it with sudo")
    for name in USERS:
        if (data_dir / name).is_dir():
            FolderLock(data_dir / name).release()


def remove(data_dir: Path) -> None:
    """Remove everything and prove it; exit with 1 where something is left."""
    from minikube_py.agent.config import NodeConfig  # noqa: PLC0415
    from minikube_py.agent.reset.run import Trace, end_pods, find, remove_all  # noqa: PLC0415

    removed = 0

    def told(trace: Trace) -> None:
        nonlocal removed
        removed += not trace.trouble
        word = "removed" if not trace.trouble else "LEFT"
        why = f": {trace.trouble}" if trace.trouble else ""
        click.echo(f"{word:8} {trace.kind:20} {trace.name}{why}")

    before = {(trace.kind, trace.name) for trace in find(data_dir)}
    asyncio.run(end_pods(data_dir, NodeConfig().pause_image))
    for kind, name in sorted(before - {(one.kind, one.name) for one in find(data_dir)}):
        told(Trace(kind, name))
    remove_all(data_dir, told)
    left = list(find(data_dir))
    if left:
        names = ", ".join(f"{trace.kind} {trace.name}" for trace in left)
        raise StartError(f"not everything could be removed: {names}; end what uses it, try again")
    click.echo(f"{removed} traces removed, none is left")
